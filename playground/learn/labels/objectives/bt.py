"""Bradley-Terry scores, turned into a policy afterwards.

Source: Bradley and Terry, "Rank analysis of incomplete block designs", Biometrika 39 (1952). Scores s are fitted
without beta. Then pi is proportional to pi_ref exp(s / beta). For a softmax router this is the same model as DPO. A
test checks that to 1e-4.
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
    """The margin z = (u_A - u_B) . s, where the scores s are the change of the router's logits."""

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return the difference of scores (N,). Adding the same to all scores of a prompt changes nothing."""
        return log_ratio_margin(log_policy, log_reference, usage_difference)

    @property
    def ridge_scale(self) -> float:
        """Return 1, because the parameters are those of the scores."""
        return 1.0

    @property
    def step(self) -> float:
        """Return 1 / beta, because pi is proportional to pi_ref exp(s / beta)."""
        return 1.0 / self.options.beta
