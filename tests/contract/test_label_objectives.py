"""Every registered label objective keeps its contract: a new file in learn/labels/objectives gets these by itself."""

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.errors import InvalidRequest
from playground.learn.labels.fitting import LabelBatch, fit
from playground.learn.labels.objective import LABEL_OBJECTIVES, LabelObjective
from playground.routers.prompt.linear import LinearProbe
from tests.contract.options import ends

N, E, D = 40, 4, 6
OBJECTIVES = list(LABEL_OBJECTIVES)
ENDS = [(name, *end) for name in OBJECTIVES for end in ends(LABEL_OBJECTIVES.get(name).Options)]


def make(name: str, **options: object) -> LabelObjective:
    kind = LABEL_OBJECTIVES.get(name)
    return kind(kind.Options.of(options))


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return log pi, log pi_ref and usage difference (N, E), then target and weight (N,), in float64."""
    rng = np.random.default_rng(0)
    log_policy, log_reference = (np.log(rng.dirichlet(np.ones(E), N)) for _ in range(2))
    difference = rng.dirichlet(np.ones(E), N) - rng.dirichlet(np.ones(E), N)
    target, weight = rng.choice([0.025, 0.25, 0.5, 0.9], N), rng.uniform(0.1, 5, N)
    return tuple(torch.tensor(values) for values in (log_policy, log_reference, difference, target, weight))


def test_no_objective_file_is_broken() -> None:
    assert LABEL_OBJECTIVES.broken() == {}
    with pytest.raises(InvalidRequest, match="No label objective"):
        LABEL_OBJECTIVES.get("magic")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_says_what_it_is(name: str) -> None:
    kind = LABEL_OBJECTIVES.get(name)
    assert kind.spec.name == name
    assert kind.spec.title
    assert kind.spec.description.endswith(".")
    assert {"beta", "ridge", "cap"} <= {control["name"] for control in kind.Options.controls()}
    assert all(control.get("description") for control in kind.Options.controls())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient_are_finite_and_weights_scale_the_loss(name: str, rows) -> None:
    log_policy, log_reference, difference, target, weight = rows
    far = log_policy * 50  # a policy that has moved a long way
    for policy in (log_policy, far, log_reference):
        at = policy.clone().requires_grad_(True)
        loss = make(name).loss(at, log_reference, difference, target, weight)
        assert loss.shape == (N,)
        assert bool(torch.isfinite(loss).all())
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        assert bool(torch.isfinite(gradient).all())
        twice = make(name).loss(policy, log_reference, difference, target, 2 * weight)
        torch.testing.assert_close(twice, 2 * loss.detach())
        none = make(name).loss(policy, log_reference, difference, target, 0 * weight)
        assert not none.any()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_its_gradient_is_that_of_its_loss(name: str, rows) -> None:
    """Compared with central differences in float64."""
    log_policy, *rest = rows
    at = log_policy.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda policy: make(name).loss(policy, *rest), (at,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls_as_the_policy_moves_to_what_won(name: str) -> None:
    """One prompt, A used the first expert alone and B the second, and A is surely better."""
    difference, even = torch.tensor([[1.0, -1.0]]), torch.log(torch.tensor([[0.5, 0.5]]))
    losses = []
    for share in (0.3, 0.5, 0.7):
        policy = torch.log(torch.tensor([[share, 1 - share]]))
        losses.append(float(make(name).loss(policy, even, difference, torch.tensor([0.9]), torch.ones(1))))
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_adding_the_same_to_all_scores_of_a_prompt_changes_nothing(name: str, rows) -> None:
    log_policy, *rest = rows
    shift = torch.linspace(-30, 30, N, dtype=torch.float64)[:, None]
    loss = make(name).loss
    torch.testing.assert_close(loss(log_policy + shift, *rest), loss(log_policy, *rest), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_exchanging_a_and_b_changes_neither_loss_nor_gradient(name: str, rows) -> None:
    log_policy, log_reference, difference, target, weight = rows
    found = []
    for sign, wanted in ((1, target), (-1, 1 - target)):
        at = log_policy.clone().requires_grad_(True)
        loss = make(name).loss(at, log_reference, sign * difference, wanted, weight)
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        found.append((loss.detach(), gradient))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_version_before_predicts_even_odds(name: str, rows) -> None:
    _, log_reference, difference, *_ = rows
    if not LABEL_OBJECTIVES.get(name).uses_reference:
        log_reference = torch.full_like(log_reference, -np.log(E))  # without a reference, only even weights are even
        torch.testing.assert_close(make(name).margin(log_reference, log_reference, difference), torch.zeros(N).double())
        return
    assert (make(name).margin(log_reference, log_reference, difference) == 0).all()


@pytest.mark.parametrize(("name", "option", "value"), ENDS)
def test_options_work_at_both_ends(name: str, option: str, value: object, rows) -> None:
    objective = make(name, **{option: str(value)})
    assert getattr(objective.options, option) == pytest.approx(value)
    assert bool(torch.isfinite(objective.loss(*rows)).all())
    assert objective.step > 0
    assert objective.ridge_scale > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_fit_moves_a_policy_to_what_won(name: str) -> None:
    """Labels for the first expert over the second on every prompt."""
    maker = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(N, D, generator=maker), dim=1).abs()
    policy, reference = (LinearProbe(("a", "b", "c"), torch.zeros(3, D), torch.zeros(3)) for _ in range(2))
    difference = torch.tensor([[1.0, -1.0, 0.0]]).expand(N, -1)
    with torch.no_grad():
        log_reference = reference.log_policy(x)
    batch = LabelBatch(x, difference, torch.full((N,), 0.9), torch.ones(N), log_reference)
    before = make(name).loss(log_reference, log_reference, difference, batch.target, batch.weight).mean()
    steps = list(fit(policy, make(name), batch, batch, None))
    assert steps[-1].train_loss < before
    assert steps[-1].valid_accuracy == 1.0
    with torch.no_grad():
        assert bool((policy.log_policy(x)[:, 0] > policy.log_policy(x)[:, 1]).all())
