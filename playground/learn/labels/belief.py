"""Know what the labels say so far, and how surely: a Gaussian over the scores of every expert.

The score of expert e for a prompt is w_e . phi, phi = (1, its leading principal coordinates). The labels are fitted as
Bradley-Terry with a ridge, and the posterior is N(theta, H^-1) by Laplace's approximation.
"""

from dataclasses import dataclass

import numpy as np

DIMENSIONS = 16
RIDGE = 1.0
STEPS, NEAR = 12, 1e-5


@dataclass(frozen=True, eq=False)
class Space:
    """Turn embeddings (N, d) into features (N, K). The first coordinate has unit variance, the others less."""

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, dimensions: int = DIMENSIONS) -> "Space":
        """Return the space of the leading principal coordinates of `embeddings` (N, d)."""
        mean = embeddings.mean(0)
        _, values, axes = np.linalg.svd(embeddings - mean, full_matrices=False)
        kept = max(1, min(dimensions, int((values > 1e-6).sum())))
        return cls(mean, axes[:kept] * np.sqrt(len(embeddings)) / max(values[0], 1e-6))

    def features(self, embeddings: np.ndarray) -> np.ndarray:
        """Return phi (N, 1 + dimensions) of embeddings (N, d)."""
        coordinates = (np.atleast_2d(embeddings) - self.mean) @ self.axes.T
        return np.hstack([np.ones((len(coordinates), 1)), coordinates])


@dataclass(frozen=True, eq=False)
class Belief:
    """Hold the posterior over the weights of E experts: `weights` (E, K) and `covariance` (E K, E K)."""

    weights: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fitted(
        cls, features: np.ndarray, first: np.ndarray, second: np.ndarray, target: np.ndarray, *, experts: int
    ) -> "Belief":
        """Return the posterior after labels: phi (N, K), the experts compared (N,) each, P(first is better) (N,)."""
        size = features.shape[1]
        design = differences(features, first, second, experts)
        theta = np.zeros(experts * size)
        prior = RIDGE * np.eye(experts * size)
        hessian = prior
        for _ in range(STEPS):
            chance = sigmoid(design @ theta)
            hessian = (design * (chance * (1 - chance))[:, None]).T @ design + prior
            step = np.linalg.solve(hessian, design.T @ (target - chance) - RIDGE * theta)
            theta = theta + step
            if np.abs(step).max() < NEAR:
                break
        return cls(theta.reshape(experts, size), np.linalg.inv(hessian))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the expected score (N, E) of every expert for features (N, K)."""
        return np.asarray(features @ self.weights.T)

    def at(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean (E,) and the covariance (E, E) of the experts' scores for one prompt (K,)."""
        experts, size = self.weights.shape
        blocks = self.covariance.reshape(experts, size, experts, size)
        return self.weights @ features, np.einsum("k,ekfl,l->ef", features, blocks, features)


def differences(features: np.ndarray, first: np.ndarray, second: np.ndarray, experts: int) -> np.ndarray:
    """Return (N, E K): features (N, K) of the prompt in the columns of the first expert, minus those of the second."""
    design = np.zeros((len(features), experts, features.shape[1]))
    rows = np.arange(len(features))
    design[rows, first] += features
    design[rows, second] -= features
    return design.reshape(len(features), experts * features.shape[1])


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-values))."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -40, 40))))
