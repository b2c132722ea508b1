"""Every registered policy keeps the contract of routers: a new file in routers/prompt gets these tests by itself."""

import time

import numpy as np
import pytest

from playground.core.preferences import LabelledPair
from playground.core.values import EVIDENCE, Context, Expert, Pool
from playground.errors import ArtefactError, InvalidRequest
from playground.routers.base import ROUTERS, Beginning, LabelSet, Policy
from playground.routers.examples import load_examples
from playground.routers.library import SHIPPED
from playground.routers.prompt.knn import NearestPrompts
from tests.contract.options import ends

SHIPS = [name for name in ROUTERS if issubclass(ROUTERS.get(name), Policy) and (SHIPPED / name).is_dir()]
POLICIES = [name for name in ROUTERS if issubclass(ROUTERS.get(name), Policy)]
RUN_TIME = [(name, *end) for name in POLICIES for end in ends(ROUTERS.get(name).Options, run_time=True)]
FITTED = [(name, *end) for name in POLICIES for end in ends(ROUTERS.get(name).Options, run_time=False)]
PROMPTS = ["add divide total minus please", "", " ", "x" * 100_000, "word " * 20_000, "🦜 ‮ \x00 \ud800"[:6], "rhyme"]


@pytest.fixture(params=POLICIES)
def policy(request, examples) -> Policy:
    return ROUTERS.get(request.param).from_examples(examples)


def check(weights: np.ndarray, count: int) -> None:
    assert weights.shape == (count,)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_no_router_file_is_broken():
    assert ROUTERS.broken() == {}
    assert {"manual", "knn", "linear"} <= set(SHIPS)


@pytest.mark.parametrize("name", POLICIES)
def test_it_says_what_it_is(name):
    kind = ROUTERS.get(name)
    assert kind.spec.level == "prompt"
    assert kind.spec.title
    assert kind.spec.trained_from
    assert not kind.needs_training, "a policy is made from the example prompts"
    assert all(control.get("description") for control in kind.Options.controls())


def test_without_a_fit_it_is_made_from_the_example_prompts(policy, context, examples, pool):
    begun = type(policy).begin(Beginning(lambda: examples, ("base",), 2, 48))
    ctx = context("add divide total")
    np.testing.assert_array_equal(begun.decide(ctx).weights, policy.decide(ctx).weights)


def test_it_learns_from_labels_if_and_only_if_it_says_so(policy, encoder):
    empty = LabelSet((), np.zeros((0, encoder.encode([""]).shape[1]), np.float32))
    assert policy.learns_from_labels == bool(policy.parameters() or policy.absorb(empty) is not None)


@pytest.mark.parametrize(("name", "option", "value"), RUN_TIME)
def test_run_time_options_change_at_both_ends_and_the_router_stays(name, option, value, examples, context, pool):
    policy, ctx = ROUTERS.get(name).from_examples(examples), context("add divide rhyme")
    before = policy.decide(ctx).weights
    changed = policy.with_options({option: str(value)})
    assert getattr(changed.options, option) == pytest.approx(value)
    check(changed.decide(ctx).weights, len(pool))
    np.testing.assert_array_equal(policy.decide(ctx).weights, before)
    back = changed.with_options({option: getattr(policy.options, option)})
    np.testing.assert_array_equal(back.decide(ctx).weights, before)


@pytest.mark.parametrize(("name", "option", "value"), FITTED)
def test_options_that_are_fixed_by_the_fit_count_there_and_are_not_changed_later(
    name, option, value, examples, context, pool
):
    kind = ROUTERS.get(name)
    made = kind.from_examples(examples, kind.Options.of({option: value}))
    assert getattr(made.options, option) == value
    check(made.decide(context("add divide rhyme")).weights, len(pool))
    with pytest.raises(InvalidRequest, match="set when the router is fitted") as caught:
        made.with_options({option: value})
    assert f"routers fit {name} --option {option}" in caught.value.remedy


def test_an_unknown_option_and_a_wrong_value_are_refused(policy):
    with pytest.raises(InvalidRequest, match="no option"):
        policy.with_options({"nothing_like_it": 1})
    for control in policy.Options.controls(run_time=True):
        with pytest.raises(InvalidRequest, match=control["name"]):
            policy.with_options({control["name"]: "much"})


@pytest.mark.parametrize("prompt", PROMPTS, ids=["sum", "empty", "blank", "letters", "long", "odd", "word"])
def test_weights_are_on_the_simplex_and_the_same_every_time(policy, context, pool, prompt):
    ctx = context(prompt)
    first, again = policy.decide(ctx), policy.decide(ctx)
    check(first.weights, len(pool))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.evidence == again.evidence
    assert isinstance(first.evidence, tuple(EVIDENCE.values()))
    assert first.evidence.sentence
    if first.uncertainty is not None:
        assert first.uncertainty.shape == (len(pool),)
        assert ((first.uncertainty >= 0) & (first.uncertainty <= 1)).all()


def test_saved_and_loaded_it_decides_the_same_bit_for_bit(policy, context, tmp_path):
    policy.save(tmp_path / "a")
    loaded = type(policy).load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    for name in ("params.safetensors", "router.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for prompt in PROMPTS[:2]:
        np.testing.assert_array_equal(loaded.decide(context(prompt)).weights, policy.decide(context(prompt)).weights)
    assert loaded.experts == policy.experts
    assert loaded.options == policy.options


def test_a_damaged_folder_is_refused_with_a_remedy(policy, tmp_path):
    with pytest.raises(ArtefactError):
        type(policy).load(tmp_path / "missing")
    policy.save(tmp_path)
    (tmp_path / "params.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ArtefactError) as caught:
        type(policy).load(tmp_path)
    assert caught.value.remedy


def test_a_pool_of_one_gets_everything(policy, context, pool):
    for name in pool.names:
        assert policy.decide(context("add total", pool.select([name]))).weights.tolist() == [1.0]


def test_permuting_the_pool_permutes_the_weights(policy, context, pool):
    order = [2, 0, 3, 1]
    shuffled = Pool(tuple(pool.experts[i] for i in order))
    straight = policy.decide(context("add divide rhyme")).weights
    np.testing.assert_allclose(policy.decide(context("add divide rhyme", shuffled)).weights, straight[order], atol=1e-6)


def test_experts_outside_the_pool_take_no_part(policy, context, pool):
    part = policy.decide(context("add divide rhyme", pool.select(["poetry", "maps"]))).weights
    check(part, 2)


def test_an_unknown_expert_gets_weight_from_its_card(policy, context, pool):
    fits = Expert("fits", "lora", "add divide", "add divide total minus", "Fi", 5)
    other = Expert("other", "lora", "zebra", "stripes and savannah", "Ot", 6)
    larger = Pool((*pool.experts, fits, other))
    weights = policy.decide(context("add divide total minus", larger)).weights
    check(weights, 6)
    if weights[:4].max() > weights[:4].min():  # one that weighs all alike does so here
        assert weights[4] > weights[5]
    only_strangers = policy.decide(context("add divide total minus", Pool((fits, other)))).weights
    check(only_strangers, 2)


def test_a_decision_takes_less_than_50_ms(policy, context):
    ctx = context("add divide total minus please")
    policy.decide(ctx)
    started = time.perf_counter()
    for _ in range(10):
        policy.decide(ctx)
    assert (time.perf_counter() - started) / 10 < 0.05


def test_learning_from_no_labels_changes_nothing(policy, context, pool, encoder):
    learned = policy.absorb(LabelSet((), np.zeros((0, encoder.encode([""]).shape[1]), np.float32)))
    if learned is None:
        pytest.skip("this policy learns by gradient or not at all")
    ctx = context("add divide rhyme")
    np.testing.assert_array_equal(learned.decide(ctx).weights, policy.decide(ctx).weights)


def test_labels_move_the_policy_one_way_and_flipped_the_other(policy, context, pool, encoder):
    prompt = "road route to nowhere"

    def labels(target: float) -> LabelSet:
        pair = LabelledPair("l", prompt, pool.names, pool.one_hot("poetry"), pool.one_hot("maps"), target)
        return LabelSet([pair] * 3, encoder.encode([prompt] * 3))

    towards, away = policy.absorb(labels(0.9)), policy.absorb(labels(0.1))
    if towards is None or away is None:
        pytest.skip("this policy learns by gradient or not at all")
    at = pool.index("poetry")
    before = policy.decide(context(prompt)).weights[at]
    assert away.decide(context(prompt)).weights[at] < before < towards.decide(context(prompt)).weights[at]


@pytest.mark.parametrize("name", SHIPS)
def test_the_shipped_parameters_load(name):
    shipped = ROUTERS.get(name).load(SHIPPED / name)
    assert shipped.experts == tuple(dict.fromkeys(example.expert for example in load_examples()))
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) < 500_000


@pytest.mark.parametrize("name", SHIPS)
def test_the_shipped_parameters_serve_a_pool_without_most_of_their_experts(name):
    """Adapters may be missing: the rest share everything, and a stranger is weighed by its card."""
    shipped, rng = ROUTERS.get(name).load(SHIPPED / name), np.random.default_rng(0)
    names = ("base", "sentiment", "units", "stranger")
    pool = Pool(tuple(Expert(n, "lora", n, n, n[:2], i) for i, n in enumerate(names)))
    cards = rng.standard_normal((len(pool), 384)).astype(np.float32)
    order = [3, 1, 0, 2]
    shuffled = Pool(tuple(pool.experts[i] for i in order))
    prompts = NearestPrompts.load(SHIPPED / "knn").memory.embeddings.astype(np.float32)
    for embedding in prompts[::20]:
        decision = shipped.decide(Context("any", pool, embedding, cards))
        check(decision.weights, len(pool))
        assert decision.evidence.sentence
        again = shipped.decide(Context("any", shuffled, embedding, cards[order]))
        np.testing.assert_allclose(again.weights, decision.weights[order], atol=1e-6)
        alone = shipped.decide(Context("any", pool.select(["units"]), embedding, cards[2:3]))
        assert alone.weights.tolist() == [1.0]
