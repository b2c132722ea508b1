"""Identity preference optimisation: the log ratio is fitted to what a label asks for, and asks for no more.

Source: Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences", arXiv:2310.12036,
Eq. 17, with soft targets. `beta` is the paper's tau. For a share p of votes the optimum is (2p - 1) / (2 tau), which is
finite where all agree.
"""

from math import sqrt

from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, log_ratio_margin


@label_objective(
    "ipo",
    title="Identity (IPO)",
    paper="arXiv:2310.12036",
    description="Never grows overconfident: use it when most pairs have one vote, or when all votes agree.",
)
class IdentityPreference(LabelObjective):
    """(h - (2y - 1) / (2 beta))², for the difference of log ratios h and the target y."""

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return 4 beta h (N,): the log odds of p = 1/2 + beta h, to first order."""
        return self.odds_scale * log_ratio_margin(log_policy, log_reference, usage_difference)

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the weighted squared error (N,) of the log ratio."""
        h = log_ratio_margin(log_policy, log_reference, usage_difference)
        return weight * (h - (2 * target - 1) / (2 * self.options.beta)).square()

    @property
    def odds_scale(self) -> float:
        """Return 4 beta, since p = 1/2 + beta h at the optimum."""
        return 4 * self.options.beta

    @property
    def ridge_scale(self) -> float:
        """Return the root of 8: this loss curves 8 / beta² times as much as the logistic one does at even odds."""
        return sqrt(8)
