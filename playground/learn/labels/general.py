"""A model of preferences that may go in circles, shared by the objectives that serve a mix against them.

Source: Zhang et al., "General Preference Modeling", arXiv:2410.02197. Besides scores, every expert has a vector
v_e(x) of k pairs. A skew form of the vectors of A and B is added to the log odds, so P(A beats B) + P(B beats A) = 1.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from playground.learn.labels.objective import LabelObjective, log_ratio_margin, soft_loss
from playground.learn.labels.options import LabelObjectiveOptions

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting, LabelBatch

SPREAD = 1.0  # of the first weights of the heads; with 0.1, circles that turn with the topic are not found


class GeneralPreference(LabelObjective):
    """z = beta (u_A - u_B) . (log pi - log pi_ref) + g, where g is the skew form of what A and B do not share.

    A usage that both answers have cancels, as it does in the scores.
    """

    class Options(LabelObjectiveOptions):
        """How much may be circular."""

        blocks: int = Field(2, ge=1, le=8, description="Pairs of numbers in an expert's vector.")
        circular: float = Field(
            0.002, ge=0.0, le=1.0, description="Penalty on the circular part, so that it must earn its place."
        )

    options: Options

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return the part (N,) of the log odds that scores explain."""
        return self.options.beta * log_ratio_margin(log_policy, log_reference, usage_difference)

    def margins(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return the log odds (N,), circular part included."""
        return super().margins(log_policy, rows) + self.circle(rows.x, rows.difference)

    def losses(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return the weighted loss (N,) with the penalty on the circular part."""
        circle = self.circle(rows.x, rows.difference)
        z = super().margins(log_policy, rows) + circle
        return rows.weight * (soft_loss(z, rows.target) + self.options.circular * circle.square())

    def heads(self) -> list[Tensor]:
        """Return the maps of prompts to vectors (E 2k, d), their offsets (E 2k,), and to block weights (k, d)."""
        return list(getattr(self, "_heads", ()))

    def place_heads(self, experts: int, width: int) -> None:
        """Make the heads for `experts` experts and prompts of `width` numbers."""
        blocks, maker = self.options.blocks, torch.Generator().manual_seed(0)
        size = experts * 2 * blocks
        made = [torch.randn(shape, generator=maker) for shape in ((size, width), (size,), (blocks, width))]
        self._heads = [
            value.mul_(by).requires_grad_(True) for value, by in zip(made, (SPREAD, 1.0, SPREAD), strict=True)
        ]
        self._strength = torch.ones(1, requires_grad=True)
        self._heads.append(self._strength)

    def forms(self, x: Tensor) -> Tensor:
        """Return the skew forms (N, E, E) of prompts (N, d): the circular part of the log odds of row over column."""
        to_vectors, offsets, to_blocks, strength = self._heads
        blocks = self.options.blocks
        vectors = normalize((x @ to_vectors.T + offsets).view(len(x), -1, 2 * blocks), dim=-1)
        weight = blocks * torch.softmax(x @ to_blocks.T, dim=-1)
        one, two = vectors[..., 0::2], vectors[..., 1::2]
        half = torch.einsum("nb,nib,njb->nij", weight, one, two)
        return strength * (half - half.transpose(1, 2))

    def circle(self, x: Tensor, usage_difference: Tensor) -> Tensor:
        """Return the circular part (N,) of the log odds. It is 0 before heads are placed."""
        if not self.heads():
            return torch.zeros(len(x))
        gained, lost = usage_difference.clamp(min=0), (-usage_difference).clamp(min=0)
        return torch.einsum("ni,nij,nj->n", gained, self.forms(x), lost)

    def fit_model(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Fit scores and circular part together."""
        self.place_heads(fitting.train.difference.shape[1], fitting.train.x.shape[1])
        yield from fitting.descend(self)

    def odds(self, fitting: "Fitting", x: Tensor) -> Tensor:
        """Return log odds (M, E, E) of the row over the column on prompts (M, d)."""
        with torch.no_grad():
            score = self.options.beta * fitting.moved(x)
            return score[:, :, None] - score[:, None, :] + self.forms(x)

    def cyclicity(self, fitting: "Fitting", rows: "LabelBatch") -> float:
        """Return the share of the squared log odds on these labels that no score can explain, in 0..1 or above."""
        with torch.no_grad():
            circle, z = self.circle(rows.x, rows.difference), fitting.margins(self, rows)
        return float(circle.square().mean() / z.square().mean().clamp(min=1e-12))
