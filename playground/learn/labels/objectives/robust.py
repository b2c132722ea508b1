"""Robust DPO: a loss whose mean over randomly flipped labels is the loss on the true ones.

Source: Chowdhury et al., "Provably Robust DPO", arXiv:2403.00409. It has no lower bound, so margins beyond
LIMIT do not count.
"""

from math import sqrt

from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, soft_loss
from playground.learn.labels.options import LabelObjectiveOptions

LIMIT = 10.0


@label_objective(
    "robust",
    title="Robust DPO",
    paper="arXiv:2403.00409",
    description="Undoes random flips in the odds: use it when you know what share of the votes is wrong.",
)
class RobustPreference(LabelObjective):
    """((1 - epsilon) l(z, y) - epsilon l(z, 1 - y)) / (1 - 2 epsilon), for the loss l of DPO."""

    class Options(LabelObjectiveOptions):
        """How often a label is wrong."""

        epsilon: float = Field(0.05, ge=0.0, le=0.45, description="Share of labels that are flipped.")

    options: Options

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the weighted loss (N,). It is below 0 for labels that the policy agrees with much."""
        z, epsilon = self.margin(log_policy, log_reference, usage_difference), self.options.epsilon
        if epsilon > 0:
            z = z.clamp(-LIMIT, LIMIT)
        kept, flipped = soft_loss(z, target), soft_loss(z, 1 - target)
        return weight * ((1 - epsilon) * kept - epsilon * flipped) / (1 - 2 * epsilon)


def flips_from_repeats(changed: float) -> float:
    """Return the share of flipped votes when a share `changed` of repeated questions got another vote, below one half.

    Two votes differ when just one of them is flipped: q = 2 epsilon (1 - epsilon). 0.18 gives 0.10.
    """
    return (1 - sqrt(max(0.0, 1 - 2 * changed))) / 2
