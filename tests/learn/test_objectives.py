"""What the papers say of each label objective. What holds for every one is in tests/contract."""

import numpy as np
import pytest
import torch
from torch import Tensor

from playground.errors import InvalidRequest
from playground.learn.labels.fitting import LabelBatch, fit
from playground.learn.labels.objective import LABEL_OBJECTIVES, LabelObjective
from playground.routers.prompt.linear import LinearProbe

N, E, D = 40, 4, 6
EXPERTS = ("a", "b", "c", "d")


def make(name: str, **options: float) -> LabelObjective:
    kind = LABEL_OBJECTIVES.get(name)
    return kind(kind.Options(**options))


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Return log pi, log pi_ref and the usage difference (N, E), in float64."""
    rng = np.random.default_rng(0)
    log_policy, log_reference = (np.log(rng.dirichlet(np.ones(E), N)) for _ in range(2))
    difference = rng.dirichlet(np.ones(E), N) - rng.dirichlet(np.ones(E), N)
    return tuple(torch.tensor(values) for values in (log_policy, log_reference, difference))


@pytest.mark.parametrize("name", ["dpo", "bt"])
def test_probabilities_of_both_orders_sum_to_one_and_nobody_beats_himself(name: str, rows) -> None:
    log_policy, log_reference, difference = rows
    margin = make(name).margin
    both = torch.sigmoid(margin(log_policy, log_reference, difference)) + torch.sigmoid(
        margin(log_policy, log_reference, -difference)
    )
    torch.testing.assert_close(both, torch.ones_like(both), rtol=0, atol=1e-7)
    same = torch.sigmoid(margin(log_policy, log_reference, torch.zeros_like(difference)))
    assert (same == 0.5).all()


def fitted(name: str, *, seed: int = 0, **options: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Return predictions P(A beats B) (N,), log ratio (N, E) as served, and whether the reference stayed as it was."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(N, D)) / np.sqrt(D), dtype=torch.float32)
    reference = LinearProbe(EXPERTS, torch.randn(E, D, generator=torch.Generator().manual_seed(1)), torch.zeros(E))
    before = reference.weight.detach().clone()
    policy = LinearProbe(EXPERTS, reference.weight, reference.bias)
    pairs = np.array([rng.choice(E, 2, replace=False) for _ in range(N)])
    difference = torch.tensor(np.eye(E)[pairs[:, 0]] - np.eye(E)[pairs[:, 1]], dtype=torch.float32)
    target = torch.tensor(rng.choice([0.1, 0.75, 0.975], N), dtype=torch.float32)
    with torch.no_grad():
        log_reference = reference.log_policy(x)
    batch = LabelBatch(x, difference, target, torch.ones(N), log_reference)
    objective = make(name, **options)
    for _ in fit(policy, objective, batch, batch, None):
        pass
    with torch.no_grad():
        margin = objective.margin(policy.log_policy(x), log_reference, difference)
        policy.weight.copy_(reference.weight + objective.step * (policy.weight - reference.weight))
        scores = (policy.weight - reference.weight) @ x.T
    assert torch.equal(reference.weight, before), "the reference is never changed"
    return torch.sigmoid(margin).numpy(), scores.T.numpy(), name


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_bradley_terry_and_dpo_are_one_model(beta: float) -> None:
    (bt, bt_scores, _), (dpo, dpo_scores, _) = (fitted(name, beta=beta, ridge=1.0) for name in ("bt", "dpo"))
    np.testing.assert_allclose(bt, dpo, atol=1e-4)
    np.testing.assert_allclose(bt_scores, dpo_scores, atol=2e-3 / beta)
    assert np.ptp(dpo) > 0.1, "something was learned"


@pytest.mark.parametrize("name", ["dpo", "bt"])
def test_doubling_beta_halves_the_move_at_equal_fit(name: str) -> None:
    (one, far, _), (two, near, _) = (fitted(name, beta=beta, ridge=1.0) for beta in (0.5, 1.0))
    np.testing.assert_allclose(one, two, atol=1e-4)
    np.testing.assert_allclose(far, 2 * near, atol=4e-3)


def test_dpo_has_its_closed_form_for_one_prompt_and_two_experts() -> None:
    """h = logit(p) / beta: 4.05 at p = 0.6 and beta = 0.1."""
    objective = make("dpo", beta=0.1)
    h = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([h], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-12)
    difference, zero = torch.tensor([[1.0, -1.0]]).double(), torch.zeros(1, 2).double()

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_policy = torch.log_softmax(torch.stack([h, torch.zeros_like(h)])[None], -1)
        value = objective.loss(log_policy, zero, difference, torch.tensor([0.6]).double(), torch.ones(1).double()).sum()
        value.backward()
        return value

    optimiser.step(loss)
    assert float(h.detach()) == pytest.approx(np.log(0.6 / 0.4) / 0.1, abs=1e-3)


def test_unknown_objectives_are_said() -> None:
    with pytest.raises(InvalidRequest, match="bt, conservative"):
        LABEL_OBJECTIVES.get("magic")
