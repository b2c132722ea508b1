"""A person routes: every expert has the same weight until somebody drags one. That arrives as the run's override.

There is no paper and there are no parameters. Overrides start from these weights.
"""

import numpy as np

from playground.core.values import Context, Decision, Text
from playground.routers.base import Policy, router


@router("manual", title="By hand", level="prompt", paper=None, trained_from="nothing: you set the weights")
class Manual(Policy):
    """A policy that gives every expert of the pool the same weight, whatever the prompt."""

    def decide(self, ctx: Context) -> Decision:
        """Return equal weights (E,)."""
        weights = np.full(len(ctx.pool), 1 / len(ctx.pool), np.float32)
        return Decision(weights, Text("Every expert has the same weight: drag one to route by hand."))
