"""Direct preference optimisation on the router's policy.

Source: Rafailov et al., "Direct Preference Optimization", arXiv:2305.18290, Eq. 7, with usages in place of answers.
"""

from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, log_ratio_margin


@label_objective(
    "dpo",
    title="Direct preference (DPO)",
    paper="arXiv:2305.18290",
    description="Makes winners likelier, without moving far from the current version.",
)
class DirectPreference(LabelObjective):
    """The margin z = beta (u_A - u_B) . (log pi - log pi_ref)."""

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return beta times the difference of log ratios (N,)."""
        return self.options.beta * log_ratio_margin(log_policy, log_reference, usage_difference)
