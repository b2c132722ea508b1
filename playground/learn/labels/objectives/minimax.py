"""The minimax winner: the mix of experts that no other expert beats more often than not.

Source: Swamy et al., "A Minimaximalist Approach to RLHF" (SPO), arXiv:2401.04056. Preferences come from the general
preference model, so that they may go in circles. The mix is to be drawn from, not blended.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from playground.learn.labels.games import self_play
from playground.learn.labels.general import GeneralPreference
from playground.learn.labels.objective import label_objective

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting


@label_objective(
    "minimax",
    title="Minimax winner (SPO)",
    paper="arXiv:2401.04056",
    description="Serves what no expert beats: use it when tastes conflict and the worst opponent matters.",
)
class MinimaxWinner(GeneralPreference):
    """The general preference model, served by play against itself."""

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Fit the model, then make the policy serve the average of play against itself."""
        yield from self.fit_model(fitting)
        x = fitting.prompts()
        mix = self_play(torch.sigmoid(self.odds(fitting, x)).double().numpy())
        fitting.imitate(x, torch.from_numpy(mix).float())
