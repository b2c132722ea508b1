"""Bradley-Terry scores, turned into a policy afterwards.

Source: Bradley and Terry, "Rank analysis of incomplete block designs", Biometrika 39 (1952). Scores are fitted without
beta and pi is proportional to pi_ref exp(s / beta): for a softmax router the same model as DPO, which a test holds to
1e-4.
"""

from torch import Tensor

from playground.learn.labels.objective import LabelObjective, label_objective, log_ratio_margin


@label_objective(
    "bt",
    title="Bradley-Terry",
    paper=None,
    description="Estimates how strong each expert is on a prompt, then moves the router by these strengths.",
)
class BradleyTerry(LabelObjective):
    """z = (u_A - u_B) . s, the scores s being the change of the router's logits."""

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return the difference of scores (N,); adding the same to all scores of a prompt changes nothing."""
        return log_ratio_margin(log_policy, log_reference, usage_difference)

    @property
    def ridge_scale(self) -> float:
        """The parameters are the scores' own."""
        return 1.0

    @property
    def step(self) -> float:
        """pi is proportional to pi_ref exp(s / beta)."""
        return 1.0 / self.options.beta
