"""Conservative DPO: every label counts as if it were flipped with a small probability.

Source: Mitchell, "A note on DPO with noisy preferences" (2023). The target becomes (1 - 2 epsilon) y + epsilon,
so margins stay small. It does not find flipped labels, and does not repair the order of experts.
"""

from pydantic import Field
from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, soft_loss
from playground.learn.labels.options import LabelObjectiveOptions


@label_objective(
    "conservative",
    title="Conservative DPO",
    paper=None,
    description="Keeps margins small: use it when a confident mistake costs more than a timid answer.",
)
class ConservativePreference(LabelObjective):
    """The loss of DPO on the target (1 - 2 epsilon) y + epsilon."""

    class Options(LabelObjectiveOptions):
        """How often a label is wrong."""

        epsilon: float = Field(0.05, ge=0.0, le=0.45, description="Share of labels that may be flipped.")

    options: Options

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the weighted loss (N,) on the smoothed target."""
        z = self.margin(log_policy, log_reference, usage_difference)
        epsilon = self.options.epsilon
        return weight * soft_loss(z, target if epsilon == 0 else (1 - 2 * epsilon) * target + epsilon)
