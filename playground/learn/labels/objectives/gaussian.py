"""Scores with a spread: an expert whose results vary is preferred less surely than its mean score says.

Source: the robust reward learning of PEARL, Liu et al., arXiv:2306.03615. The score of expert e on a prompt is
N(s_e, sigma_e²). P(A beats B) is then about sigmoid(z / root(1 + pi/8 sum (u_A - u_B)_e² sigma_e²)) (MacKay 1992).
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from playground.learn.labels.objective import LabelObjective, label_objective, soft_loss
from playground.learn.labels.options import LabelObjectiveOptions

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting, LabelBatch


@label_objective(
    "gaussian",
    title="Gaussian scores (PEARL)",
    paper="arXiv:2306.03615",
    description="Learns how sure each expert's score is: use it when some experts are steady and others erratic.",
)
class GaussianPreference(LabelObjective):
    """DPO on margins that shrink with the spread of the two scores."""

    class Options(LabelObjectiveOptions):
        """How the spread is held."""

        floor: float = Field(0.05, ge=0.0, le=1.0, description="Least spread of a score.")
        pull: float = Field(0.01, ge=0.0, le=1.0, description="How strongly the spread is pulled to 1.")

    options: Options

    def margins(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return the log odds (N,), shrunk by the spread of what A and B used."""
        return super().margins(log_policy, rows) / self.shrinkage(rows.x, rows.difference)

    def losses(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return the weighted loss (N,) with what holds the spread near 1."""
        held = torch.zeros(len(rows))
        if self.heads() and self.options.pull > 0:
            square = self.spread(rows.x).square().clamp(min=1e-6)
            held = self.options.pull * (square - 1 - square.log()).sum(-1) / 2
        return rows.weight * (soft_loss(self.margins(log_policy, rows), rows.target) + held)

    def heads(self) -> list[Tensor]:
        """Return the map of prompts to spreads (E, d) and its offset (E,)."""
        return list(getattr(self, "_heads", ()))

    def spread(self, x: Tensor) -> Tensor:
        """Return the spread (N, E) of each expert's score on prompts (N, d)."""
        weight, offset = self._heads
        return self.options.floor + softplus(x @ weight.T + offset)

    def shrinkage(self, x: Tensor, usage_difference: Tensor) -> Tensor:
        """Return the number (N,) from 1 up by which log odds are divided. It is 1 before anything was learned."""
        if not self.heads():
            return torch.ones(len(x))
        variance = (usage_difference.square() * self.spread(x).square()).sum(-1)
        return torch.sqrt(1 + math.pi / 8 * variance)

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Fit scores and spreads together."""
        width, experts = fitting.train.x.shape[1], fitting.train.difference.shape[1]
        self._heads = [torch.zeros(experts, width, requires_grad=True), torch.zeros(experts, requires_grad=True)]
        yield from fitting.descend(self)
