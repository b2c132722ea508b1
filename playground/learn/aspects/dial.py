"""Turn a direction over aspects into routing weights, without a refit.

pi(e|x, v) is proportional to pi_ref(e|x) exp(v . r(x, e) / beta), for a unit vector v over K aspects. Source:
Directional Preference Alignment, arXiv:2402.18571; for a finite pool the tilted policy is exact, so no rejection
sampling is needed.

As the angle between two aspects turns, the mean score of the first one changes by -sin(a) Var(r1) + cos(a) Cov(r1, r2).
So it falls steadily on every prompt where the aspects disagree (Cov <= 0). Where they agree there is little to choose.
"""

from collections.abc import Sequence

import numpy as np

LEAST_LENGTH = 1e-9


def unit(direction: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the direction (K,) with length 1. Raise ValueError for one of length 0."""
    v = np.asarray(direction, float)
    length = float(np.linalg.norm(v))
    if not length > LEAST_LENGTH:
        raise ValueError("a direction over aspects needs at least one weight that is not 0")
    return v / length


def at_angle(degrees: float) -> np.ndarray:
    """Return the direction (2,) at an angle: 0 is the first aspect alone, 90 the second alone."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def standardised(scores: np.ndarray, on: np.ndarray | None = None) -> np.ndarray:
    """Return scores (N, E, K) with mean 0 over the experts of a prompt and standard deviation 1 in each aspect.

    The deviation is measured `on` other scores (M, E, K) when given, such as those of the training prompts. An aspect
    that tells no experts apart stays 0.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    known = centred if on is None else on - on.mean(axis=1, keepdims=True)
    spread = known.std(axis=(0, 1))
    return np.asarray(np.where(spread > LEAST_LENGTH, centred / np.maximum(spread, LEAST_LENGTH), 0.0))


def turned(
    reference: np.ndarray, scores: np.ndarray, direction: Sequence[float] | np.ndarray, *, beta: float
) -> np.ndarray:
    """Return weights (N, E) for a direction (K,) over the aspects of `scores` (N, E, K).

    `reference` (N, E) are weights of a policy. A larger `beta` follows the dial less. Weights of 0 stay 0. Raise
    ValueError for a direction of length 0 or a beta that is not positive.
    """
    if not beta > 0:
        raise ValueError("beta must be positive")
    with np.errstate(divide="ignore"):
        logits = np.log(reference) + scores @ unit(direction) / beta
    tilted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(tilted / tilted.sum(axis=1, keepdims=True))


def averages(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the mean score (K,) of each aspect under weights (N, E)."""
    return np.asarray(np.einsum("ne,nek->k", weights, scores) / len(weights))


def disagreeing(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (N,) bool: prompts on which two aspects pull apart: Cov(r1, r2) < 0 under weights (N, E)."""
    first, second = (scores[..., k] - (weights * scores[..., k]).sum(1, keepdims=True) for k in (0, 1))
    return np.asarray((weights * first * second).sum(axis=1) < 0)


def sweep(reference: np.ndarray, scores: np.ndarray, angles: Sequence[float], *, beta: float) -> np.ndarray:
    """Return the achieved averages (A, 2) of two aspects as the dial turns through `angles`, in degrees."""
    return np.array([averages(turned(reference, scores, at_angle(a), beta=beta), scores) for a in angles])
