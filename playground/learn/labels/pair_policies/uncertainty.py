"""Uncertainty: pairs on whose order the posterior disagrees with itself.

The disagreement is the variance of sigmoid(z) over the posterior of z (query by committee), not a small |z|: two
experts that are known to be equal teach nothing.
"""

import numpy as np

from playground.learn.labels.belief import sigmoid
from playground.learn.labels.pairs import PairPolicy, pair_policy, softmax

MEMBERS = 64
SHARPNESS = 0.02  # variances of a probability are at most 0.25


@pair_policy(
    "uncertainty",
    title="Uncertainty",
    description="Use it to learn the order of all experts, good and bad: it asks where guesses differ most.",
)
class Uncertainty(PairPolicy):
    """Prefer pairs whose probability varies over the posterior."""

    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return a softmax of the variance of each pair's probability."""
        drawn = rng.multivariate_normal(mean, covariance, size=MEMBERS, method="cholesky")
        chances = sigmoid(drawn[:, pairs[:, 0]] - drawn[:, pairs[:, 1]])
        return softmax(chances.var(0) / SHARPNESS)
