"""What can be said of weights, attention and experts as numbers: entropy, agreement, switches, rollout, likeness.

Pure numpy on arrays; knows nothing of models, runs or pictures.
Shapes: T tokens, L layers, E experts, H heads, r rank, d width. Weights are on the simplex over the last axis.
Rollout: Abnar & Zuidema 2020, arXiv:2005.00928.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

Factors = Mapping[str, tuple[np.ndarray, np.ndarray]]


def entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy (...) in nats of weights (..., E); 0 · log 0 counts as 0."""
    values = np.asarray(weights, np.float64)
    logs = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(np.maximum(0.0, -(values * logs).sum(axis=-1)))


def overlap(layered: np.ndarray) -> np.ndarray:
    """Agreement (...) of layers (..., L, E): the mean over pairs of layers of sum_e min(w_le, w_me), from 0 to 1.

    One layer agrees with itself: 1. O(L log L) a token instead of L², because in a sorted column the k-th smallest of L
    values is the smaller one of L - 1 - k pairs.
    """
    values = np.sort(np.asarray(layered, np.float64), axis=-2)
    layers = values.shape[-2]
    if layers < 2:
        return np.ones(values.shape[:-2])
    pairs_lost = np.arange(layers - 1, -1, -1, dtype=np.float64)[:, None]
    return np.asarray((values * pairs_lost).sum(axis=(-2, -1)) / (layers * (layers - 1) / 2))


def consent(layered: np.ndarray) -> np.ndarray:
    """Share (...) of layers (..., L, E) whose heaviest expert is the heaviest of their mean."""
    values = np.asarray(layered, np.float64)
    overall = values.mean(axis=-2).argmax(axis=-1)
    return np.asarray((values.argmax(axis=-1) == overall[..., None]).mean(axis=-1))


def switches(weights: np.ndarray) -> np.ndarray:
    """(T,) bool: at which tokens of (T, E) another expert is heaviest than at the token before; the first is none."""
    leaders = np.asarray(weights).argmax(axis=-1)
    return np.concatenate([np.zeros(min(1, len(leaders)), bool), leaders[1:] != leaders[:-1]])


def rollout(attention: Iterable[np.ndarray]) -> np.ndarray:
    """(T, T) float32: how much of each token (columns) flows into each token (rows) through all layers.

    `attention` gives (H, T, T) of each layer, the first layer first. Each layer passes half of a token on as it is (the
    residual stream) and mixes the other half by its heads' mean; rows sum to 1. Raises ValueError without a layer.
    """
    joint: np.ndarray | None = None
    for heads in attention:
        joint = rolled(joint, heads)
    if joint is None:
        raise ValueError("a rollout needs at least one layer")
    return joint


def rolled(joint: np.ndarray | None, heads: np.ndarray) -> np.ndarray:
    """The rollout (T, T) after one more layer with attention (H, T, T); `joint` is None before the first."""
    mean = np.asarray(heads, np.float32).mean(axis=0)
    step = 0.5 * mean + 0.5 * np.eye(len(mean), dtype=np.float32)
    step /= step.sum(axis=-1, keepdims=True)
    return step if joint is None else np.asarray(step @ joint)


def shrunk(image: np.ndarray, size: int) -> np.ndarray:
    """(..., T, T) made at most `size` wide by taking the largest value of each block; smaller ones stay as they are."""
    width = image.shape[-1]
    if width <= size:
        return image
    edges = np.linspace(0, width, size, endpoint=False).astype(int)
    return np.asarray(np.maximum.reduceat(np.maximum.reduceat(image, edges, axis=-2), edges, axis=-1))


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Index of the first token in which two answers differ; None when they are the same."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


@dataclass(frozen=True, eq=False)
class AttentionOverview:
    """Every head at a glance: `heads` (L, H, S, S) small pictures, `rollout` (T, T), and the T token texts."""

    heads: np.ndarray
    rollout: np.ndarray
    tokens: list[str]


@dataclass(frozen=True)
class Likelihoods:
    """Mean log-probability per token of two answers under two routings: `first_by_second` is the first run's answer
    under the second run's routing. None for the routing of a run that a tool wrote: its words were not the model's."""

    first_by_first: float | None
    first_by_second: float | None
    second_by_first: float | None
    second_by_second: float | None


# --- experts beside each other ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Likeness:
    """How alike adapters are, (E, E) each, NaN where two share no module.

    `reading` compares what they look at, `change` what they do; `chance` is what `reading` is between random subspaces.
    """

    names: tuple[str, ...]
    reading: np.ndarray
    change: np.ndarray
    chance: float


def row_basis(matrix: np.ndarray) -> np.ndarray:
    """An orthonormal basis (r', d) of the row space of (r, d); r' is its numerical rank."""
    _, values, rows = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    return np.asarray(rows[values > max(values[0], 1e-30) * 1e-6])


def subspace_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """||Qa Qbᵀ||²_F / min(ra, rb) of two orthonormal bases (ra, d), (rb, d): 0 orthogonal, 1 one holds the other."""
    return float(np.square(one @ other.T).sum() / max(1, min(len(one), len(other))))


def likeness(adapters: Mapping[str, Factors]) -> Likeness:
    """How alike the adapters are, from each one's {module: (A (r, d_in), B (d_out, r))}; means over shared modules.

    `change` is the cosine between the changes B A as vectors, computed without forming them:
    <Ba Aa, Bb Ab> = sum((Baᵀ Bb) ∘ (Aa Abᵀ)).
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
    """Cosine of the two changes B A; 0 when one of them is zero."""

    def inner(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
        (a, b), (c, d) = first, second
        return float(((b.T @ d) * (a @ c.T)).sum(dtype=np.float64))

    length = np.sqrt(inner(one, one) * inner(other, other))
    return inner(one, other) / length if length > 0 else 0.0


def usage_correlation(usages: np.ndarray, *, least: int = 3) -> np.ndarray:
    """(E, E) Pearson correlation of usage (R, E) over runs; NaN marks an expert that was not in a run's pool.

    NaN where fewer than `least` runs had both, or one of them never varied.
    """
    experts = usages.shape[1]
    result = np.full((experts, experts), np.nan)
    for i in range(experts):
        for j in range(i, experts):
            both = usages[~np.isnan(usages[:, i]) & ~np.isnan(usages[:, j])]
            if len(both) < least or both[:, i].std() < 1e-9 or both[:, j].std() < 1e-9:
                continue
            result[i, j] = result[j, i] = np.corrcoef(both[:, i], both[:, j])[0, 1]
    return result
