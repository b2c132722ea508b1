"""Simple preference optimisation: the router's own log weights are the reward, and a win must be by a margin.

Source: Meng et al., "SimPO", arXiv:2405.14734, Eq. 6. An answer's reward is its usage times log pi, so no length has to
be divided out. A target y asks for the margin (2y - 1) gamma, so that a tie asks for none.
"""

from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, soft_loss
from playground.learn.labels.options import LabelObjectiveOptions


@label_objective(
    "simpo",
    title="No reference (SimPO)",
    paper="arXiv:2405.14734",
    description="Forgets what the current version preferred: use it when that version is not worth keeping.",
)
class SimplePreference(LabelObjective):
    """The margin z = beta (u_A - u_B) . log pi, less gamma for the winner. The ridge still holds the parameters."""

    class Options(LabelObjectiveOptions):
        """How far a win has to be."""

        beta: float = Field(
            2.0, ge=0.1, le=10.0, description="How far labels move the routing: a lower value moves it further."
        )
        gamma: float = Field(0.5, ge=0.0, le=5.0, description="By how much the log odds of a winner should lead.")

    options: Options
    uses_reference = False

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return beta times the difference of log weights (N,)."""
        return self.options.beta * (usage_difference * log_policy).sum(-1)

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the weighted loss (N,) of the margin less what the target asks for."""
        z = self.margin(log_policy, log_reference, usage_difference)
        return weight * soft_loss(z - self.options.gamma * (2 * target - 1), target)
