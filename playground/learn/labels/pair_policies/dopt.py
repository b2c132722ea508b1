"""D-optimal: the pair whose label shrinks the posterior most.

The gain is 1/2 log(1 + p (1 - p) v), with p the expected probability and v the variance of the difference: what one
observation adds to the log determinant of the information (Chaloner & Verdinelli 1995, section 4).
"""

import numpy as np

from playground.learn.labels.belief import sigmoid
from playground.learn.labels.pairs import PairPolicy, pair_policy, softmax, spread

SHARPNESS = 0.1


@pair_policy(
    "dopt",
    title="D-optimal",
    description="Use it when labels are few and dear: each one says as much as possible about all experts.",
)
class DOptimal(PairPolicy):
    """Prefer pairs with a large gain of information."""

    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return a softmax of the gain of each pair."""
        chance = sigmoid(mean[pairs[:, 0]] - mean[pairs[:, 1]])
        gain = 0.5 * np.log1p(chance * (1 - chance) * spread(covariance, pairs))
        return softmax(gain / SHARPNESS)
