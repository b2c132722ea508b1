"""Our losses on the same log-likelihoods as TRL's, to 1e-5. Each expert is a token, and an answer is one token long.

TRL's own methods run: `DPOTrainer._compute_loss` and `CPOTrainer.cpo_loss`, on an object without a model or data.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from playground.learn.labels.objective import LABEL_OBJECTIVES

BETA, EPSILON, GAMMA = 0.3, 0.1, 0.5
N, E = 12, 5


@pytest.fixture(scope="module")
def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log pi and log pi_ref (N, E), and which expert won and lost (N,)."""
    maker = torch.Generator().manual_seed(0)
    policy, reference = (torch.log_softmax(torch.randn(N, E, generator=maker) * 2, -1) for _ in range(2))
    order = torch.stack([torch.randperm(E, generator=maker)[:2] for _ in range(N)])
    return policy, reference, order[:, 0], order[:, 1]


def ours(name: str, rows: tuple[Tensor, ...], **options: float) -> float:
    policy, reference, won, lost = rows
    difference = torch.nn.functional.one_hot(won, E) - torch.nn.functional.one_hot(lost, E)
    kind = LABEL_OBJECTIVES.get(name)
    objective = kind(kind.Options(beta=BETA, **options))
    return float(objective.loss(policy, reference, difference.float(), torch.ones(N), torch.ones(N)).mean())


def picked(values: Tensor, won: Tensor, lost: Tensor) -> Tensor:
    """Return (2N, 1): the log-likelihoods of the chosen tokens, then of the rejected ones."""
    return torch.cat([values.gather(1, won[:, None]), values.gather(1, lost[:, None])])


def trl_dpo(loss_type: str, rows: tuple[Tensor, ...]) -> float:
    """Return the mean of TRL's loss."""
    from trl import DPOTrainer  # noqa: PLC0415  (four seconds)

    policy, reference, won, lost = rows
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=SimpleNamespace(device="cpu"),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[Weight()],
        beta=BETA,
        label_smoothing=EPSILON,
        use_weighting=False,
    )
    chosen, rejected = picked(reference, won, lost).chunk(2)
    inputs = {
        "input_ids": torch.zeros(2 * N, 2, dtype=torch.long),
        "completion_mask": torch.tensor([[0, 1]]).expand(2 * N, 2),
        "ref_chosen_logps": chosen[:, 0],
        "ref_rejected_logps": rejected[:, 0],
    }
    likelihoods = SimpleNamespace(log_probs=picked(policy, won, lost))
    with pytest.raises(Complete) as ended:
        DPOTrainer._compute_loss(trainer, lambda **_: likelihoods, inputs, False)
    return float(ended.value.args[0])


class Complete(Exception):
    """Ends TRL's method where the loss is complete. Its metrics would follow."""


class Weight:
    """Stands for the weight of a loss, and ends the method with the mean loss."""

    def __rmul__(self, loss: Tensor) -> Tensor:
        raise Complete(float(loss))


@pytest.mark.parametrize(
    ("name", "loss_type", "options"),
    [("dpo", "sigmoid", {}), ("ipo", "ipo", {}), ("robust", "robust", {"epsilon": EPSILON})],
)
def test_dpo_losses_are_those_of_trl(name: str, loss_type: str, options: dict[str, float], rows) -> None:
    assert ours(name, rows, **options) == pytest.approx(trl_dpo(loss_type, rows), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "loss_type", "smoothing", "options"),
    [("simpo", "simpo", 0.0, {"gamma": GAMMA}), ("conservative", "sigmoid", EPSILON, {"epsilon": EPSILON})],
)
def test_losses_without_a_reference_are_those_of_trl(
    name: str, loss_type: str, smoothing: float, options: dict[str, float], rows
) -> None:
    """Conservative DPO is TRL's smoothed loss when the reference is even, since that cancels."""
    from trl.experimental.cpo import CPOTrainer  # noqa: PLC0415  (four seconds)

    policy, _, won, lost = rows
    trainer = SimpleNamespace(
        beta=BETA,
        loss_type=loss_type,
        label_smoothing=smoothing,
        simpo_gamma=GAMMA,
        alpha=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    chosen, rejected = picked(policy, won, lost).chunk(2)
    losses, *_ = CPOTrainer.cpo_loss(trainer, chosen[:, 0], rejected[:, 0])
    even = torch.full_like(policy, -1.6)
    assert ours(name, (policy, even, won, lost), **options) == pytest.approx(float(losses.mean()), abs=1e-5)
