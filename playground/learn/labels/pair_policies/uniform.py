"""Uniform: every pair is equally likely."""

import numpy as np

from playground.learn.labels.pairs import PairPolicy, pair_policy


@pair_policy(
    "uniform",
    title="Uniform",
    description="Use it by default, and whenever the labels also serve a board: every pair is seen equally often.",
)
class UniformPairs(PairPolicy):
    """Give every pair the same probability."""

    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return 1 / P for each pair."""
        return np.full(len(pairs), 1 / len(pairs))
