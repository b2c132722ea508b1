"""Accelerated preference optimisation: DPO in rounds, each of which goes a little further in the way of the last.

Source: He et al., "Accelerated Preference Optimization", arXiv:2410.06293. The reference of a round is
where the last one ended. The parameters are logits, so theta_{t+1} = fit_{t+1} + alpha (fit_{t+1} - fit_t). Each round
has labels of its own: on the same labels, rounds would only lower beta.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective
from playground.learn.labels.options import LabelObjectiveOptions

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting


@label_objective(
    "momentum",
    title="Rounds with momentum (APO)",
    paper="arXiv:2410.06293",
    description="Moves in rounds and keeps its pace: use it with thousands of labels that one round leaves too timid.",
)
class AcceleratedPreference(LabelObjective):
    """DPO in rounds. A round after which the validation loss rose is not carried further (a restart)."""

    class Options(LabelObjectiveOptions):
        """How many rounds, and how much of the last move each one adds."""

        rounds: int = Field(3, ge=1, le=10, description="Rounds; each has its share of the labels.")
        alpha: float = Field(0.3, ge=0.0, le=0.9, description="Share of the last move that is added to the next.")

    options: Options

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Descend in each round from where the last one ended, then extrapolate."""
        rounds = min(self.options.rounds, max(len(fitting.train), 1))
        last: list[Tensor] = fitting.parameters()
        lowest = float("inf")
        for turn in range(rounds):
            rows = fitting.from_here(fitting.train.take(slice(turn, None, rounds)))
            progress = None
            for progress in fitting.descend(self, rows, part=turn + 1, parts=rounds):
                yield progress
            fitted = fitting.parameters()
            alpha = self.options.alpha if progress is not None and progress.valid_loss < lowest else 0.0
            lowest = lowest if progress is None else progress.valid_loss
            if turn > 0:
                fitting.place([extrapolate(now, before, alpha) for now, before in zip(fitted, last, strict=True)])
            last = fitted


def extrapolate(now: Tensor, before: Tensor, alpha: float) -> Tensor:
    """Return now + alpha (now - before). For a constant pull, steps grow to 1 / (1 - alpha) of their size."""
    return torch.add(now, now - before, alpha=alpha)
