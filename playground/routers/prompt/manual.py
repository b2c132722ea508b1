"""The person routes: every expert weighs the same until somebody drags a weight, which arrives as the run's override.

No paper: this is the baseline that overrides start from. Has no parameters.
"""

from pathlib import Path
from typing import Self

import numpy as np

from playground.core.values import Context, Decision, Text
from playground.routers.artefact import read_router, write_router
from playground.routers.base import Policy, router
from playground.routers.examples import ExampleSet


@router("manual", title="By hand", level="prompt", paper=None, trained_from="nothing: the person sets the weights")
class Manual(Policy):
    """Uniform over the pool, whatever the prompt."""

    def decide(self, ctx: Context) -> Decision:
        """Equal weights (E,)."""
        weights = np.full(len(ctx.pool), 1 / len(ctx.pool), np.float32)
        says = "Every expert has the same weight: drag one to route by hand."
        return Decision(weights=weights, evidence=Text(says))

    @classmethod
    def from_examples(cls, examples: ExampleSet) -> Self:
        """The router as shipped: there is nothing to fit."""
        return cls(examples.experts)

    def save(self, folder: Path) -> None:
        """Write the (empty) parameters and the experts."""
        write_router(folder, self.spec.name, {"experts": list(self.experts)}, {"nothing": np.zeros(0, np.float32)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        card, _ = read_router(folder, cls.spec.name, {})
        return cls(card["experts"])
