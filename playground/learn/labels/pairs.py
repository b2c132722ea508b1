"""Choose which two experts to compare next, and know the probability of that choice."""

from collections.abc import Sequence

import numpy as np

from playground.core.values import Pool
from playground.errors import InvalidRequest


def uniform_pair(pool: Pool, rng: np.random.Generator, ready: Sequence[str]) -> tuple[str, str, float]:
    """Return two different ready experts of the pool in random order, and the probability of this unordered pair.

    All pairs and both orders are equally likely. With n ready experts the probability is 2 / (n (n - 1)). Raise
    InvalidRequest when fewer than two are ready.
    """
    names = [name for name in pool.names if name in set(ready)]
    if len(names) < 2:
        raise InvalidRequest("A comparison needs two experts that are ready.", "Wait for one to load.")
    first, second = rng.choice(len(names), size=2, replace=False)
    return names[first], names[second], 2.0 / (len(names) * (len(names) - 1))
