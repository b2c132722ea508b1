import numpy as np
import pytest

from playground.core.preferences import LabelledPair
from playground.core.values import Expert, Neighbours, Pool, Text, softmax
from playground.routers.base import LabelSet
from playground.routers.prior import KAPPA, cosines, descriptor_prior
from playground.routers.prompt.knn import NearestPrompts, remember


def scores(policy: NearestPrompts, embedding: np.ndarray) -> np.ndarray:
    near, closeness, _ = policy.nearest(embedding, np.arange(len(policy.experts)))
    return policy._scores(near, closeness)[0]


def with_options(policy: NearestPrompts, **options) -> NearestPrompts:
    return NearestPrompts(policy.experts, policy.memory, policy.options.model_copy(update=options))


@pytest.fixture
def policy(examples) -> NearestPrompts:
    return NearestPrompts.from_examples(examples)


def label(pool, encoder, prompt, winner, loser, target=0.9, count=1) -> LabelSet:
    pair = LabelledPair("l", prompt, pool.names, pool.one_hot(winner), pool.one_hot(loser), target)
    return LabelSet([pair] * count, encoder.encode([prompt] * count))


def test_one_neighbour_on_a_stored_prompt_returns_its_outcome(policy, examples):
    one = with_options(policy, k=1, shrinkage=0.0)
    for row in range(len(examples)):
        np.testing.assert_allclose(scores(one, examples.embeddings[row]), policy.memory.outcomes[row], atol=1e-6)


def test_the_weights_are_the_softmax_of_scores_on_top_of_the_prior(policy, context):
    ctx = context("add divide total minus please")
    logits = scores(policy, ctx.embedding) / policy.options.temperature + KAPPA * cosines(ctx)
    np.testing.assert_allclose(policy.decide(ctx).weights, softmax(logits), atol=1e-6)


def test_the_scores_are_the_shrunk_weighted_mean(policy, context):
    embedding = context("add rhyme").embedding
    vectors = policy.memory.embeddings.astype(np.float64)
    cosine = vectors @ embedding
    nearest = np.argsort(-cosine, kind="stable")[:32]
    closeness = np.exp((cosine[nearest] - 1) / policy.options.bandwidth)
    expected = (closeness @ policy.memory.outcomes[nearest] + 0.5) / (closeness.sum() + 1.0)
    np.testing.assert_allclose(scores(policy, embedding), expected, rtol=1e-4)


def test_forgetting_a_neighbour_changes_exactly_its_share(policy, context):
    ctx = context("add divide total minus please")
    everyone = np.arange(len(policy.experts))
    near, closeness, _ = policy.nearest(ctx.embedding, everyone)
    gone = NearestPrompts(policy.experts, policy.memory.without(int(near[3])), policy.options)
    left = np.delete(np.arange(len(near)), 3)
    expected = (closeness[left] @ policy.memory.outcomes[near[left]] + 0.5) / (closeness[left].sum() + 1.0)
    assert len(near) == len(policy.memory.prompts)  # all are in reach, so none moves up
    np.testing.assert_allclose(scores(gone, ctx.embedding), expected, rtol=1e-5)


def test_duplicates_do_not_flood(policy, examples, context):
    outcomes = np.concatenate([policy.memory.outcomes, np.repeat(policy.memory.outcomes[:1], 100, axis=0)])
    many = remember(
        (*policy.memory.prompts, *[policy.memory.prompts[0]] * 100),
        np.concatenate([policy.memory.embeddings, np.repeat(policy.memory.embeddings[:1], 100, axis=0)]),
        outcomes,
        np.ones_like(outcomes),
    )
    flooded = NearestPrompts(policy.experts, many, policy.options)
    ctx = context("add divide total minus please")
    np.testing.assert_allclose(flooded.decide(ctx).weights, policy.decide(ctx).weights, atol=1e-6)


def test_without_any_row_it_is_the_descriptor_router(pool, context, encoder):
    nothing = np.zeros((0, 4), np.float32)
    empty = NearestPrompts(pool.names, remember((), encoder.encode([]), nothing, nothing))
    ctx = context("rhymes and verses")
    np.testing.assert_allclose(empty.decide(ctx).weights, descriptor_prior(ctx), atol=1e-6)
    assert isinstance(empty.decide(ctx).evidence, Text)


def test_a_label_counts_at_once(policy, pool, context, encoder):
    prompt = "sonnet tonight"
    assert policy.decide(context(prompt)).weights.argmax() == pool.index("poetry")
    learned = policy.absorb(label(pool, encoder, prompt, "maps", "poetry", target=0.975))
    assert learned.decide(context(prompt)).weights.argmax() == pool.index("maps")
    assert policy.decide(context(prompt)).weights.argmax() == pool.index("poetry")  # the first is untouched


def test_labels_on_two_experts_leave_unrelated_prompts_alone(policy, pool, context, encoder):
    asked = [f"rhyme verse again{i}" for i in range(200)]
    pairs = [
        LabelledPair(str(i), p, pool.names, pool.one_hot("poetry"), pool.one_hot("base"), 0.9)
        for i, p in enumerate(asked)
    ]
    learned = policy.absorb(LabelSet(pairs, encoder.encode(asked)))
    for prompt in ("road route north town", "add divide total minus"):
        before, after = policy.decide(context(prompt)).weights, learned.decide(context(prompt)).weights
        assert before.argmax() == after.argmax()
        assert after.max() > 0.5


def test_labels_that_say_nothing_about_routing_are_left_out(policy, pool, context, encoder):
    same = LabelledPair("l", "add total", pool.names, pool.one_hot("maps"), pool.one_hot("maps"), 0.9)
    learned = policy.absorb(LabelSet([same], encoder.encode(["add total"])))
    assert learned.memory.prompts == policy.memory.prompts


def test_an_expert_that_only_labels_know_is_learned(policy, pool, context, encoder):
    larger = Pool((*pool.experts, Expert("chess", "lora", "Chess", "openings and endgames", "Ch", 7)))
    prompt = "which opening for black"
    pair = LabelledPair("l", prompt, larger.names, larger.one_hot("chess"), larger.one_hot("base"), 0.975)
    learned = policy.absorb(LabelSet([pair] * 2, encoder.encode([prompt] * 2)))
    assert learned.experts[-1] == "chess"
    assert learned.decide(context(prompt, larger)).weights.argmax() == larger.index("chess")


def test_the_evidence_counts_what_it_says(policy, pool, context):
    evidence = policy.decide(context("add divide total minus number1")).evidence
    assert isinstance(evidence, Neighbours)
    assert evidence.sentence == "6 of 24 similar prompts were answered best by base." or "sums" in evidence.sentence
    assert evidence.experts[0] == "sums"
    assert list(evidence.similarities) == sorted(evidence.similarities, reverse=True)


def test_an_expert_that_cannot_be_chosen_is_said_to_be_so(policy, pool, context):
    without = pool.select(["base", "poetry"])
    evidence = policy.decide(context("add divide total minus number1", without)).evidence
    assert isinstance(evidence, Neighbours)
    assert evidence.experts[0] == "sums"
    counted, then = evidence.sentence.split(". ")
    assert counted == "6 of 24 similar prompts were answered best by sums, which cannot be chosen here"
    assert then == "Of the others, poetry has most."


def test_the_reason_is_that_of_the_expert_that_answers(policy, pool, context):
    """Whatever most neighbours say, the sentence ends with the expert that has most weight."""
    for prompt in ("add divide total minus", "rhyme add", "verse verse total", "minus rhymes code", "help", "poem 12"):
        for names in (pool.names, ("base", "poetry"), ("base", "sums")):
            ctx = context(prompt, pool.select(names))
            decision = policy.decide(ctx)
            chosen = ctx.pool.names[int(decision.weights.argmax())]
            assert chosen in decision.evidence.sentence.split(", ")[-1].split(" by ")[-1], decision.evidence.sentence


def test_fewer_but_nearer_prompts_are_said_to_be_nearer(pool, context, encoder):
    prompts = ("add add", "rhyme far away", "rhyme much further")
    outcomes = np.array([[0, 0, 1.0], [0, 1.0, 0], [0, 1.0, 0]], np.float32)
    memory = remember(prompts, encoder.encode(prompts), outcomes, np.ones_like(outcomes))
    made = NearestPrompts(("base", "poetry", "sums"), memory, NearestPrompts.Options(shrinkage=0.0))
    evidence = made.decide(context("add add", pool.select(["base", "poetry", "sums"]))).evidence
    assert evidence.sentence == (
        "2 of 3 similar prompts were answered best by poetry, but the nearest of them speak for sums."
    )
