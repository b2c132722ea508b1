"""The person routes: every expert weighs the same until somebody drags a weight, which arrives as the run's override.

No paper: this is the baseline that overrides start from. Has no parameters.
"""

import numpy as np

from playground.core.values import Context, Decision, Text
from playground.routers.base import Policy, router


@router("manual", title="By hand", level="prompt", paper=None, trained_from="nothing: you set the weights")
class Manual(Policy):
    """Uniform over the pool, whatever the prompt."""

    def decide(self, ctx: Context) -> Decision:
        """Return equal weights (E,)."""
        weights = np.full(len(ctx.pool), 1 / len(ctx.pool), np.float32)
        return Decision(weights, Text("Every expert has the same weight: drag one to route by hand."))
