"""Fit what differs between people, several tastes instead of one, and what sways them all: the side.

This module works on pairs of experts without prompts. Source: MiCRo, arXiv:2505.24846 (a mixture of Bradley-Terry
models, here by expectation-maximisation with a share of tastes for each person).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

RIDGE = 0.1  # on scores
FEW = 1.0  # votes that a person's share of tastes begins with
ROUNDS, STARTS = 60, 5
LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Tastes:
    """Scores (K, F) of K tastes, and the share of each taste for each person (R, K)."""

    scores: np.ndarray
    shares: np.ndarray
    log_likelihoods: tuple[float, ...]

    def probability(self, features: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return P(A beats B) (N,) for differences (N, F), for people with the shares (N, K) or (K,)."""
        return np.asarray((_sigmoid(features @ self.scores.T) * share).sum(axis=-1))

    def share_of(self, features: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the shares (K,) of a new person after these votes. Without votes they are those of everybody."""
        everybody = self.shares.mean(axis=0)
        odds = features @ self.scores.T
        likelihood = (target[:, None] * -_softplus(-odds) + (1 - target[:, None]) * -_softplus(odds)).sum(axis=0)
        return _softmax(np.log(np.maximum(everybody, LEAST)) + likelihood)


def mixture(features: np.ndarray, target: np.ndarray, person: np.ndarray, count: int, *, seed: int = 0) -> Tastes:
    """Return the likeliest of several starts of a mixture of `count` tastes. With one taste it is Bradley-Terry.

    `features` (N, F) are differences of A and B, `target` (N,) says whether A won, `person` (N,) numbers who voted.
    """
    rng = np.random.default_rng(seed)
    found = [_one_start(features, target, person, count, rng) for _ in range(STARTS if count > 1 else 1)]
    return max(found, key=lambda one: one.log_likelihoods[-1])


def _one_start(
    features: np.ndarray, target: np.ndarray, person: np.ndarray, count: int, rng: np.random.Generator
) -> Tastes:
    people = int(person.max()) + 1
    scores = rng.normal(0, 1, (count, features.shape[1])) * (count > 1)
    shares = np.full((people, count), 1 / count)
    seen: list[float] = []
    for _ in range(ROUNDS):
        odds = features @ scores.T
        log_p = target[:, None] * -_softplus(-odds) + (1 - target[:, None]) * -_softplus(odds)
        joint = log_p + np.log(np.maximum(shares[person], LEAST))
        seen.append(float(np.logaddexp.reduce(joint, axis=1).sum()))
        taken = _softmax(joint)
        mean = taken.mean(axis=0)
        for k in range(count):
            scores[k] = _weighted_scores(features, target, taken[:, k], scores[k])
            sums = np.bincount(person, weights=taken[:, k], minlength=people)
            shares[:, k] = (sums + FEW * mean[k]) / (np.bincount(person, minlength=people) + FEW)
        if len(seen) > 1 and abs(seen[-1] - seen[-2]) < 1e-4:
            break
    return Tastes(scores, shares, tuple(seen))


def side_bias(features: np.ndarray, target: np.ndarray, left: np.ndarray) -> tuple[float, np.ndarray]:
    """Return (log odds for the answer on the left, scores (F,)). `left` (N,) is 1 where A was on the left, else -1."""
    both = np.c_[features, left]
    found = _weighted_scores(both, target, np.ones(len(target)), np.zeros(both.shape[1]))
    return float(found[-1]), found[:-1]


def _weighted_scores(features: np.ndarray, target: np.ndarray, weight: np.ndarray, start: np.ndarray) -> np.ndarray:
    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        z = features @ scores
        value = (weight * (target * _softplus(-z) + (1 - target) * _softplus(z))).sum() + RIDGE / 2 * scores @ scores
        return float(value), features.T @ (weight * (_sigmoid(z) - target)) + RIDGE * scores

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0.0, z))


def _softmax(z: np.ndarray) -> np.ndarray:
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
