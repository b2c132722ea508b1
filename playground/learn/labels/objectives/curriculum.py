"""Curry-DPO: the clearest labels first. Each stage begins, and has its reference, where the last one ended.

Source: Pattnaik et al., "Curry-DPO", arXiv:2403.07230. A label is clear when its target is far from one
half. Ties come last. `shuffled` and `hard first` are controls.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective
from playground.learn.labels.options import LabelObjectiveOptions

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting


@label_objective(
    "curriculum",
    title="Easy first (Curry-DPO)",
    paper="arXiv:2403.07230",
    description="Learns clear verdicts before slight ones: use it when votes have strengths; compare with shuffled.",
)
class CurriculumPreference(LabelObjective):
    """DPO in stages over a partition of the labels."""

    class Options(LabelObjectiveOptions):
        """How many stages, and what comes first."""

        stages: int = Field(3, ge=1, le=10, description="Stages into which the labels are split.")
        order: Literal["easy first", "hard first", "shuffled"] = Field("easy first", description="What comes first.")

    options: Options

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Descend on each stage, from where the last one ended."""
        stages = self.stages(fitting.train.target)
        for turn, rows in enumerate(stages):
            labels = fitting.from_here(fitting.train.take(rows))
            yield from fitting.descend(self, labels, part=turn + 1, parts=len(stages))

    def stages(self, target: Tensor) -> list[Tensor]:
        """Return the rows of each stage. Together they are all rows of `target` (N,), each once."""
        shuffled = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))
        if self.options.order != "shuffled":
            clear = (target[shuffled] - 0.5).abs()
            shuffled = shuffled[torch.argsort(clear, descending=self.options.order == "easy first", stable=True)]
        return [rows for rows in torch.tensor_split(shuffled, self.options.stages) if len(rows)]
