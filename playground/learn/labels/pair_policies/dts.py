"""Double Thompson sampling: two draws from the posterior each name their best expert (Wu & Liu, arXiv:1604.07101)."""

import numpy as np

from playground.learn.labels.pairs import PairPolicy, pair_policy

DRAWS = 1000


@pair_policy(
    "dts",
    title="Double Thompson sampling",
    description="Use it when only the best expert matters and bad answers cost: it compares those that may be best.",
)
class DoubleThompson(PairPolicy):
    """Compare the best of one draw with the best of another draw, which must differ."""

    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the probability of each pair, from how often 1,000 draws name each expert the best."""
        drawn = rng.multivariate_normal(mean, covariance, size=DRAWS, method="cholesky")
        best = (np.bincount(drawn.argmax(1), minlength=len(mean)) + 1 / len(mean)) / (DRAWS + 1)
        first, second = pairs.T
        # the second draw is repeated until it names another expert
        return np.asarray(best[first] * best[second] * (1 / (1 - best[first]) + 1 / (1 - best[second])))
