import numpy as np
import pytest
import torch

from playground.core.values import Scores
from playground.routers.base import ExampleSet
from playground.routers.influence import word_influence
from playground.routers.prompt.linear import LinearProbe, _calibrated


@pytest.fixture
def probe(examples) -> LinearProbe:
    return LinearProbe.from_examples(examples)


def test_log_policy_and_decide_say_the_same(probe, context):
    ctx = context("add divide total minus")
    batched = probe.log_policy(torch.from_numpy(ctx.embedding)[None]).exp().detach().numpy()[0]
    np.testing.assert_allclose(probe.decide(ctx).weights, batched, atol=1e-5)


def test_log_policy_is_differentiable_in_the_parameters(probe, examples):
    log_policy = probe.log_policy(torch.from_numpy(examples.embeddings))
    assert log_policy.shape == (24, 4)
    torch.testing.assert_close(log_policy.exp().sum(dim=1), torch.ones(24))
    log_policy[:, 0].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in probe.parameters())


def test_the_gradient_of_the_fit_is_zero_at_its_end(examples):
    fitted = LinearProbe._fit(examples)
    inputs, count = torch.from_numpy(examples.embeddings), len(examples.experts)
    hard = torch.nn.functional.one_hot(torch.from_numpy(examples.answers), count).float()
    soft = 0.95 * hard + 0.05 / count
    loss = -(soft * fitted.log_policy(inputs)).sum(dim=1).mean() + fitted.options.ridge * fitted.weight.square().sum()
    gradients = torch.autograd.grad(loss, fitted.parameters())
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-3


def test_it_overfits_fifty_points():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((50, 64)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    answers = rng.integers(0, 3, 50)
    fitted = LinearProbe._fit(ExampleSet(("a", "b", "c"), tuple(map(str, range(50))), points, answers))
    hits = fitted.log_policy(torch.from_numpy(points)).argmax(dim=1).numpy() == answers
    assert hits.mean() == 1.0


def test_calibration_finds_the_temperature_that_was_put_in():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((4000, 4)) * 2
    chances = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    answers = np.array([rng.choice(4, p=row) for row in chances])
    assert _calibrated(logits * 2.5, answers) == pytest.approx(2.5, rel=0.1)


def test_right_on_what_it_was_shown_and_at_chance_with_shuffled_answers(examples):
    shown = LinearProbe.from_examples(examples)
    hits = shown.log_policy(torch.from_numpy(examples.embeddings)).argmax(dim=1).numpy() == examples.answers
    assert hits.mean() >= 0.9
    shuffled = np.random.default_rng(3).permutation(examples.answers)
    part = np.arange(len(examples)) % 2 == 0
    mixed = ExampleSet(examples.experts, examples.prompts, examples.embeddings, shuffled)
    lost = LinearProbe.from_examples(mixed.take(part)).log_policy(torch.from_numpy(examples.embeddings[~part]))
    assert (lost.argmax(dim=1).numpy() == shuffled[~part]).mean() < 0.6


def test_the_evidence_names_the_winner_and_scores_the_whole_pool(probe, context, pool):
    decision = probe.decide(context("add divide total minus"))
    assert isinstance(decision.evidence, Scores)
    assert decision.evidence.sentence.startswith("sums scores highest")
    assert len(decision.evidence.scores) == len(pool)
    assert int(np.argmax(decision.evidence.scores)) == int(decision.weights.argmax())


def test_word_influence_points_at_the_word_that_decided(probe, context, encoder):
    found = dict(word_influence(probe, encoder, context("please divide it")))
    assert max(found, key=found.get) == "divide"
    assert word_influence(probe, encoder, context("")) == ()
    assert len(word_influence(probe, encoder, context("word " * 500))) == 40
