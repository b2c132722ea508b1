"""Compute numbers about weights, attention and experts: entropy, agreement, switches, rollout, likeness.

This module is pure numpy. It knows nothing about models, runs or pictures.

Shapes: T tokens, L layers, E experts, H heads, r rank, d width. Weights are on the simplex over the last axis.

Source of the rollout: Abnar & Zuidema 2020, arXiv:2005.00928.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

Factors = Mapping[str, tuple[np.ndarray, np.ndarray]]


def entropy(weights: np.ndarray) -> np.ndarray:
    """Return the entropy (...) in nats of weights (..., E). 0 · log 0 counts as 0."""
    values = np.asarray(weights, np.float64)
    logs = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(np.maximum(0.0, -(values * logs).sum(axis=-1)))


def overlap(layered: np.ndarray) -> np.ndarray:
    """Return the agreement (...) of layers (..., L, E), from 0 to 1.

    It is the mean over pairs of layers of sum_e min(w_le, w_me). A single layer agrees with itself: 1. Sorting makes
    it O(L log L) for each token instead of L². In a sorted column, value k (from 0) is the smaller one of L - 1 - k
    pairs.
    """
    values = np.sort(np.asarray(layered, np.float64), axis=-2)
    layers = values.shape[-2]
    if layers < 2:
        return np.ones(values.shape[:-2])
    pairs_lost = np.arange(layers - 1, -1, -1, dtype=np.float64)[:, None]
    return np.asarray((values * pairs_lost).sum(axis=(-2, -1)) / (layers * (layers - 1) / 2))


def consent(layered: np.ndarray) -> np.ndarray:
    """Return the share (...) of layers (..., L, E) whose heaviest expert is also the heaviest of their mean."""
    values = np.asarray(layered, np.float64)
    overall = values.mean(axis=-2).argmax(axis=-1)
    return np.asarray((values.argmax(axis=-1) == overall[..., None]).mean(axis=-1))


def switches(weights: np.ndarray) -> np.ndarray:
    """Return (T,) bool: the tokens of (T, E) whose heaviest expert differs from that of the token before.

    The first token is never a switch.
    """
    leaders = np.asarray(weights).argmax(axis=-1)
    return np.concatenate([np.zeros(min(1, len(leaders)), bool), leaders[1:] != leaders[:-1]])


def rollout(attention: Iterable[np.ndarray]) -> np.ndarray:
    """Return the rollout (T, T) float32: how much of each token (columns) flows into each token (rows).

    `attention` gives (H, T, T) for each layer, first layer first. Each layer keeps half of a token as it is (the
    residual stream). It mixes the other half by the mean of its heads. Rows sum to 1. Raise ValueError without a
    layer.
    """
    joint: np.ndarray | None = None
    for heads in attention:
        joint = rolled(joint, heads)
    if joint is None:
        raise ValueError("a rollout needs at least one layer")
    return joint


def rolled(joint: np.ndarray | None, heads: np.ndarray) -> np.ndarray:
    """Return the rollout (T, T) after one more layer with attention (H, T, T). `joint` is None at first."""
    mean = np.asarray(heads, np.float32).mean(axis=0)
    step = 0.5 * mean + 0.5 * np.eye(len(mean), dtype=np.float32)
    step /= step.sum(axis=-1, keepdims=True)
    return step if joint is None else np.asarray(step @ joint)


class AttentionMap:
    """A map (H, M, M) of the attention among T tokens, added up from pieces of the text.

    M is T up to `most`. A longer text has blocks of `block` tokens: a cell is how much of a token's attention goes to
    all of a block, as a mean over the tokens of the asking block. Rows still add up to 1.
    """

    def __init__(self, tokens: int, most: int) -> None:
        self.tokens = tokens
        self.block = -(-tokens // most)
        self.size = -(-tokens // self.block)
        self._sums: np.ndarray | None = None

    def add(self, start: int, attention: np.ndarray) -> None:
        """Add the attention (H, Q, S) of the Q tokens from `start` on, to the S tokens up to the last of them."""
        heads, asking, seen = attention.shape
        if self._sums is None:
            self._sums = np.zeros((heads, self.size, self.size), np.float32)
        if self.block > 1:
            attention = np.add.reduceat(attention, np.arange(0, seen, self.block), axis=-1)
            places = np.arange(start, start + asking) // self.block
            edges = np.flatnonzero(np.diff(places, prepend=-1))
            attention, start = np.add.reduceat(attention, edges, axis=-2), int(places[0])
        self._sums[:, start : start + attention.shape[1], : attention.shape[2]] += attention

    def result(self) -> np.ndarray:
        """Return the map (H, M, M) float32. Raise ValueError before anything was added."""
        if self._sums is None:
            raise ValueError("no attention was added")
        askers = np.minimum(self.block, self.tokens - self.block * np.arange(self.size))
        return np.asarray(self._sums / askers[:, None])

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Return the M texts of the blocks, from those of the tokens."""
        return ["".join(texts[i : i + self.block]) for i in range(0, len(texts), self.block)]


def shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """Return (..., T, T) made at most `size` wide by taking the largest value of each block.

    Smaller arrays stay as they are.
    """
    width = image.shape[-1]
    if width <= size:
        return image
    edges = np.linspace(0, width, size, endpoint=False).astype(int)
    return np.asarray(np.maximum.reduceat(np.maximum.reduceat(image, edges, axis=-2), edges, axis=-1))


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Return the index of the first token in which two answers differ. Return None when they are the same."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


@dataclass(frozen=True, eq=False)
class AttentionOverview:
    """Hold every head as a small picture, `heads` (L, H, S, S), the `rollout` (T, T) and the T token texts."""

    heads: np.ndarray
    rollout: np.ndarray
    tokens: list[str]


@dataclass(frozen=True)
class Likelihoods:
    """Hold the mean log-probability per token of two answers under two routings.

    `first_by_second` is the first run's answer under the second run's routing. It is None when a tool wrote the answer
    of that run, because its routing did not choose the words.
    """

    first_by_first: float | None
    first_by_second: float | None
    second_by_first: float | None
    second_by_second: float | None


# --- experts beside each other ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Likeness:
    """Hold how alike adapters are: two arrays (E, E), NaN where two adapters share no module.

    `reading` compares what they look at. `change` compares what they do. `chance` is the `reading` of random
    subspaces.
    """

    names: tuple[str, ...]
    reading: np.ndarray
    change: np.ndarray
    chance: float


def row_basis(matrix: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (r', d) of the row space of (r, d). r' is its numerical rank."""
    _, values, rows = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    return np.asarray(rows[values > max(values[0], 1e-30) * 1e-6])


def subspace_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the overlap of two orthonormal bases Qa (ra, d) and Qb (rb, d): sum((Qa Qbᵀ)²) / min(ra, rb).

    0 means orthogonal. 1 means that one space contains the other.
    """
    return float(np.square(one @ other.T).sum() / max(1, min(len(one), len(other))))


def likeness(adapters: Mapping[str, Factors]) -> Likeness:
    """Return how alike the adapters are, as means over the modules that two of them share.

    Each adapter is {module: (A (r, d_in), B (d_out, r))}. `change` is the cosine between the changes B A as vectors.
    It is computed without forming them: <Ba Aa, Bb Ab> = sum((Baᵀ Bb) ∘ (Aa Abᵀ)).
    """
    names = tuple(adapters)
    bases = {name: {path: row_basis(a) for path, (a, _) in parts.items()} for name, parts in adapters.items()}
    reading, change = np.eye(len(names)), np.eye(len(names))
    chances = []
    for i, j in combinations(range(len(names)), 2):
        one, other = adapters[names[i]], adapters[names[j]]
        shared = [path for path in one if path in other]
        spaces = [(bases[names[i]][path], bases[names[j]][path]) for path in shared]
        chances += [max(len(a), len(b)) / a.shape[1] for a, b in spaces]
        same_reading = np.mean([subspace_overlap(a, b) for a, b in spaces]) if shared else np.nan
        same_change = np.mean([_cosine(one[path], other[path]) for path in shared]) if shared else np.nan
        reading[i, j] = reading[j, i] = same_reading
        change[i, j] = change[j, i] = same_change
    return Likeness(names, reading, change, float(np.mean(chances)) if chances else float("nan"))


def _cosine(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the cosine of the two changes B A. It is 0 when one of them is zero."""

    def inner(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
        (a, b), (c, d) = first, second
        return float(((b.T @ d) * (a @ c.T)).sum(dtype=np.float64))

    length = np.sqrt(inner(one, one) * inner(other, other))
    return inner(one, other) / length if length > 0 else 0.0


def usage_correlation(usages: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation (E, E) of usage (R, E) over runs.

    NaN in the input marks an expert outside the pool of a run. The result is NaN where fewer than three runs had
    both experts, or where one of them never varied.
    """
    experts = usages.shape[1]
    result = np.full((experts, experts), np.nan)
    for i in range(experts):
        for j in range(i, experts):
            both = usages[~np.isnan(usages[:, i]) & ~np.isnan(usages[:, j])]
            if len(both) < 3 or both[:, i].std() < 1e-9 or both[:, j].std() < 1e-9:
                continue
            result[i, j] = result[j, i] = np.corrcoef(both[:, i], both[:, j])[0, 1]
    return result
