"""What prompt-level routers share: the prior from the experts' cards, and placing known experts in a pool.

The prior is softmax(12 cos(z, d_e)): z embeds the prompt, and d_e embeds the card of expert e. This module knows
nothing of any one router.
"""

from collections.abc import Sequence

import numpy as np

from playground.core.values import Context, softmax

KAPPA = 12.0
TINY = 1e-12


def cosines(ctx: Context) -> np.ndarray:
    """Return (E,) float64: the cosine of the prompt with each expert's descriptor. It is 0 for a vector of zeros."""
    descriptors = np.asarray(ctx.descriptors, np.float64)
    prompt = np.asarray(ctx.embedding, np.float64)
    scale = np.linalg.norm(descriptors, axis=1) * np.linalg.norm(prompt)
    return np.asarray(descriptors @ prompt / np.maximum(scale, TINY))


def descriptor_prior(ctx: Context) -> np.ndarray:
    """Return weights (E,) float32 over `ctx.pool` that follow from the experts' cards alone."""
    return softmax(KAPPA * cosines(ctx))


def columns(ctx: Context, experts: Sequence[str]) -> np.ndarray:
    """Return (E,) int: the position of each pool expert among `experts`. It is -1 for an expert that is not there."""
    known = {name: position for position, name in enumerate(experts)}
    return np.array([known.get(name, -1) for name in ctx.pool.names])


def into_pool(ctx: Context, where: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return (E,) float32 weights over the pool from `logits` over the experts that the parameters know.

    `where` is `columns(...)`. Pool experts without a logit keep their share of the prior. The others divide the rest by
    softmax. Experts outside the pool get nothing, so the weights always sum to 1.
    """
    prior = descriptor_prior(ctx).astype(np.float64)
    is_known = where >= 0
    if not is_known.any():
        return prior.astype(np.float32)
    left = prior[is_known].sum()
    weights = prior
    weights[is_known] = left * softmax(np.asarray(logits, np.float64)[where[is_known]]).astype(np.float64)
    return np.asarray(weights / weights.sum(), np.float32)
