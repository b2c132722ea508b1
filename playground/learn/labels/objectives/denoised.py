"""Labels that a cross-fitted ensemble contradicts count less. Nothing is flipped, and stored labels stay.

Source: Wang et al., "Secrets of RLHF Part II: Reward Modeling", arXiv:2401.06080, Section 2. Each label is judged by
models that never saw its prompt: mu is their mean margin towards the label, sigma its spread. A label is contradicted
when mu < -2 sigma, ambiguous when |mu| <= sigma, else clear.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective
from playground.learn.labels.options import LabelObjectiveOptions
from playground.learn.labels.strength import bands, cross_fitted

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting, LabelBatch

FOLDS = 5
SOFTENED = 0.5  # share of the ensemble's own opinion in a softened target


@label_objective(
    "denoised",
    title="Ensemble against noise (Secrets II)",
    paper="arXiv:2401.06080",
    description="Softens or leaves out votes that contradict all others: use it when some voters click at random.",
)
class DenoisedPreference(LabelObjective):
    """DPO on labels that an ensemble has looked at."""

    class Options(LabelObjectiveOptions):
        """How large the ensemble is, and what happens to contradicted labels."""

        members: int = Field(10, ge=2, le=30, description="Members of the ensemble, for each of five folds.")
        action: Literal["soften", "leave out"] = Field("soften", description="What happens to contradicted labels.")

    options: Options

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Judge every label by the ensemble, then descend on what is left of them. With few prompts, only descend."""
        found = yield from cross_fitted(self, fitting, folds=FOLDS, members=self.options.members)
        if found is None:
            yield from fitting.descend(self)
        else:
            yield from fitting.descend(self, self.repaired(fitting.train, *found), part=2, parts=2)

    def repaired(self, rows: "LabelBatch", mean: Tensor, spread: Tensor) -> "LabelBatch":
        """Return the labels with contradicted ones softened or without weight."""
        contradicted = bands(rows.target, mean, spread) == -1
        if self.options.action == "leave out":
            return replace(rows, weight=torch.where(contradicted, torch.zeros_like(rows.weight), rows.weight))
        soft = (1 - SOFTENED) * rows.target + SOFTENED * torch.sigmoid(mean)
        return replace(rows, target=torch.where(contradicted, soft, rows.target))
