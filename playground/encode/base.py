"""Define what a sentence encoder must offer, and embed the cards of a pool with one.

This module knows nothing of the model behind the encoder.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from playground.core.values import Pool

MAX_EXAMPLES = 16  # with a hundred examples, the description would hardly count


class TextEncoder(Protocol):
    """Turn texts into unit vectors. Tests use a small deterministic encoder."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N, d) float32 of unit norm, one row for each text; (0, d) for no texts."""
        ...


def describe(encoder: TextEncoder, pool: Pool) -> np.ndarray:
    """Return (E, d) float32 unit rows: the mean embedding of each expert's card and its first 16 example prompts."""
    texts: list[str] = []
    owner: list[int] = []
    for position, expert in enumerate(pool.experts):
        for text in (expert.card, *expert.examples[:MAX_EXAMPLES]):
            texts.append(text)
            owner.append(position)
    vectors = encoder.encode(texts)
    sums = np.zeros((len(pool), vectors.shape[1]), np.float64)
    np.add.at(sums, np.array(owner), vectors)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(norms, 1e-12), np.float32)
