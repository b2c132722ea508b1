"""Labels as arrays, split by prompt. Near duplicates share a group, and a group is never on both sides of a split.

Source: the split of the evaluation rules (SHA-256 bucket of the group, 70 / 15 / 15), with a floor for few labels.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from playground.core.preferences import LabelledPair
from playground.routers.base import LabelSet

NEAR = 0.95  # cosine above which two prompts are one question
BUCKETS = 100
VALID_FROM, TEST_FROM = 70, 85
MANY_GROUPS = 200  # from here on buckets alone give every part its share
TEST_SHARE, VALID_SHARE = 0.2, 0.1
LEAST_DIFFERENCE = 0.05  # total difference of usages below which a label says nothing about routing
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 5.0
SALT = "routing-playground-1"
BLOCK = 2048
MOST_COMPARED = 20_000  # distinct prompts; 50,000 took 32 s to compare with one another, 5,000 half a second


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of a label set: three disjoint parts that share no group of prompts."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Probes:
    """Prompts on which a change of routing is shown: `embeddings` (P, d) float32, row i of `prompts[i]`."""

    prompts: tuple[str, ...]
    embeddings: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)


def build(pairs: Sequence[LabelledPair], encode: Callable[[Sequence[str]], np.ndarray]) -> LabelSet:
    """Return the labels with the embedding of each one's prompt; every distinct prompt is encoded once."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    vectors = np.asarray(encode(prompts), np.float32)
    rows = np.array([place[pair.prompt] for pair in pairs], dtype=np.intp)
    return LabelSet(pairs=tuple(pairs), embeddings=vectors[rows] if len(pairs) else vectors)


def take(labels: LabelSet, rows: np.ndarray) -> LabelSet:
    """Return the labels at `rows`."""
    return LabelSet(pairs=tuple(labels.pairs[i] for i in rows), embeddings=labels.embeddings[rows])


def join(first: LabelSet, second: LabelSet) -> LabelSet:
    """Return both sets of labels, the first one's rows first."""
    return LabelSet(
        pairs=(*first.pairs, *second.pairs), embeddings=np.concatenate([first.embeddings, second.embeddings])
    )


def informative(labels: LabelSet, experts: Sequence[str]) -> np.ndarray:
    """Return the rows whose answers used `experts` differently enough: absolute differences sum to 0.05 or more."""
    if not len(labels):
        return np.zeros(0, dtype=np.intp)
    difference = labels.usage_difference(experts)
    known = np.array([_only_known(pair, experts) for pair in labels.pairs])
    return np.flatnonzero((np.abs(difference).sum(axis=1) >= LEAST_DIFFERENCE) & known)


def balanced_weights(weights: np.ndarray) -> np.ndarray:
    """Return (N,) float32 scaled to mean 1, kept within 0.1 to 5 so that no label vanishes or outweighs all others."""
    mean = weights.mean() if len(weights) else 1.0
    return np.clip(weights / max(float(mean), 1e-12), LEAST_WEIGHT, MOST_WEIGHT).astype(np.float32)


def label_set_hash(pairs: Sequence[LabelledPair]) -> str:
    """Return the SHA-256 of what a fit depends on: the ids, targets and weights of the labels, in any order."""
    lines = sorted(f"{pair.label_id} {pair.target:.6f} {pair.weight:.6f}" for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def groups(prompts: Sequence[str], embeddings: np.ndarray, *, near: float = NEAR) -> list[str]:
    """Return the group of each prompt: those with a cosine above `near` are linked, and the first names the group.

    Labels come oldest first, so a group keeps its name as labels arrive. O(M^2 d) for M distinct prompts; above
    20,000 only prompts that differ in case and spaces alone share a group.
    """
    normal = [_normal(prompt) for prompt in prompts]
    first = {text: row for row, text in reversed(list(enumerate(normal)))}
    distinct = sorted(first.values())
    parent = {row: row for row in distinct}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    vectors = embeddings[distinct] if distinct else embeddings
    compared = len(distinct) if len(distinct) <= MOST_COMPARED else 0
    edges = [*range(0, compared, BLOCK), compared]
    for low, high in pairwise(edges):
        similar = vectors[low:high] @ vectors[:high].T
        for i, j in zip(*np.nonzero(np.tril(similar > near, low - 1)), strict=True):
            a, b = sorted((root(distinct[low + int(i)]), root(distinct[int(j)])))
            parent[b] = a
    names = {row: hashlib.sha256(normal[root(row)].encode("utf-8", "surrogatepass")).hexdigest() for row in distinct}
    return [names[first[text]] for text in normal]


def split_by_prompt(group_names: Sequence[str], *, salt: str = SALT) -> Split:
    """Train, validation and test rows by the hash of each row's group; the same in whatever order.

    Few groups (under 200): the test part gets the highest hashes until it has a fifth of the groups, the validation
    part the next tenth. Then the buckets alone decide (70 / 15 / 15), and a group never moves.
    """
    ordered = sorted(set(group_names), key=lambda name: (_digest(name, salt), name), reverse=True)
    if len(ordered) >= MANY_GROUPS:
        part = {name: _part(_digest(name, salt) % BUCKETS) for name in ordered}
    else:
        tested = round(TEST_SHARE * len(ordered) + 0.5 - 1e-9) if len(ordered) > 1 else 0
        watched = int(VALID_SHARE * len(ordered))
        part = {
            name: "test" if rank < tested else "valid" if rank < tested + watched else "train"
            for rank, name in enumerate(ordered)
        }
    where = np.array([part[name] for name in group_names], dtype=object)
    return Split(*(np.flatnonzero(where == name) for name in ("train", "valid", "test")))


def _part(bucket: int) -> str:
    return "test" if bucket >= TEST_FROM else "valid" if bucket >= VALID_FROM else "train"


def _digest(name: str, salt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}\n{name}".encode()).digest()[:8], "big")


def _normal(prompt: str) -> str:
    return " ".join(unicodedata.normalize("NFC", prompt).casefold().split())


def _only_known(pair: LabelledPair, experts: Sequence[str]) -> bool:
    """Whether every expert that either answer used is among `experts`."""
    used = {name for i, name in enumerate(pair.experts) if pair.usage_a[i] > 0 or pair.usage_b[i] > 0}
    return used <= set(experts)
