"""Near tie: pairs that are expected to be close, where people have to look."""

import numpy as np

from playground.learn.labels.pairs import PairPolicy, pair_policy, softmax

WIDTH = 0.5  # of the difference of scores


@pair_policy(
    "near_tie",
    title="Near tie",
    description="Use it to find fine differences late: early it wastes labels on coin flips.",
)
class NearTie(PairPolicy):
    """Prefer pairs with a small expected difference of scores."""

    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return a softmax of minus the expected difference of each pair."""
        return softmax(-np.abs(mean[pairs[:, 0]] - mean[pairs[:, 1]]) / WIDTH)
