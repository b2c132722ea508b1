"""General preference optimisation: allows circles among experts, and serves what does best against itself.

Source: Zhang et al., "General Preference Modeling", arXiv:2410.02197 (GPM and GPO). The policy served is the average of
ROUNDS steps of GPO from the version before.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from playground.learn.labels.games import preference_rounds
from playground.learn.labels.general import GeneralPreference
from playground.learn.labels.objective import label_objective

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting

ROUNDS, BETA = 10, 2.0


@label_objective(
    "gpm",
    title="Allow circles (GPM)",
    paper="arXiv:2410.02197",
    description="Use it when A beats B, B beats C and C beats A, and each pair has about a hundred labels.",
)
class GeneralPreferenceOptimisation(GeneralPreference):
    """The general preference model, served by steps of GPO."""

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Fit the model, then make the policy serve the average of the rounds."""
        yield from self.fit_model(fitting)
        x = fitting.prompts()
        with torch.no_grad():
            start = fitting.reference(x).double().numpy()
        mix = preference_rounds(self.odds(fitting, x).double().numpy(), start, beta=BETA, rounds=ROUNDS)
        fitting.imitate(x, torch.from_numpy(mix).float())
