"""What every prompt-level router shares: the cold-start prior from descriptors, and fitting known experts into a pool.

Source: cold start of the prompt families, softmax(12 cos(z, d_e)). Knows nothing of any one router.
"""

from collections.abc import Sequence

import numpy as np

from playground.core.values import Context, softmax

KAPPA = 12.0
TINY = 1e-12


def cosines(ctx: Context) -> np.ndarray:
    """Return (E,) float64: the cosine of the prompt with each expert's descriptor; 0 where a vector is all zeros."""
    descriptors = np.asarray(ctx.descriptors, np.float64)
    prompt = np.asarray(ctx.embedding, np.float64)
    scale = np.linalg.norm(descriptors, axis=1) * np.linalg.norm(prompt)
    return np.asarray(descriptors @ prompt / np.maximum(scale, TINY))


def descriptor_prior(ctx: Context) -> np.ndarray:
    """Return (E,) float32 on the simplex over `ctx.pool`: what the experts' cards alone say."""
    return softmax(KAPPA * cosines(ctx))


def columns(ctx: Context, experts: Sequence[str]) -> np.ndarray:
    """Return (E,) int: the position of each pool expert among `experts`, -1 for one that the parameters do not know."""
    known = {name: position for position, name in enumerate(experts)}
    return np.array([known.get(name, -1) for name in ctx.pool.names])


def into_pool(ctx: Context, where: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return (E,) float32 weights over the pool from `logits` over the experts the parameters know.

    `where` is `columns(...)`. Experts in the pool without a logit keep their share of the prior; the others divide the
    rest by softmax. Experts outside the pool take no part, so the weights always sum to 1.
    """
    prior = descriptor_prior(ctx).astype(np.float64)
    is_known = where >= 0
    if not is_known.any():
        return prior.astype(np.float32)
    left = prior[is_known].sum()
    weights = prior
    weights[is_known] = left * softmax(np.asarray(logits, np.float64)[where[is_known]]).astype(np.float64)
    return np.asarray(weights / weights.sum(), np.float32)
