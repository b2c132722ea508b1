"""Direct preference optimisation on the router's policy.

Source: Rafailov et al., "Direct Preference Optimization", arXiv:2305.18290, Eq. 7, with usages in place of answers.
"""

from playground.learn.labels.objective import LabelObjective, label_objective


@label_objective(
    "dpo",
    title="Direct preference (DPO)",
    paper="arXiv:2305.18290",
    description="Makes winners likelier, without moving far from the current version.",
)
class DirectPreference(LabelObjective):
    """The margin z = beta (u_A - u_B) . (log pi - log pi_ref)."""
