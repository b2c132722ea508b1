"""Turn labels into arrays and split them by prompt. Near duplicates share a group. A group is never split.

A SHA-256 of the group decides its part (70 / 15 / 15). With few labels the held-out part has a fixed share.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from playground.core.preferences import LabelledPair
from playground.routers.base import LabelSet

NEAR = 0.95  # prompts with a larger cosine count as one question
BUCKETS = 100
VALID_FROM, TEST_FROM = 70, 85
MANY_GROUPS = 200  # so many that the buckets alone give every part its share
TEST_SHARE, VALID_SHARE = 0.2, 0.1
LEAST_DIFFERENCE = 0.05  # a label with a smaller total difference of usages says nothing about routing
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 5.0
SALT = "routing-playground-1"
BLOCK = 2048
MOST_COMPARED = 20_000  # distinct prompts; 50,000 took 32 s to compare with one another, 5,000 half a second


@dataclass(frozen=True, eq=False)
class Split:
    """The row numbers of three parts of a label set. The parts share no group of prompts."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Probes:
    """Prompts that show a change of routing. Row i of `embeddings` (P, d) float32 embeds `prompts[i]`."""

    prompts: tuple[str, ...]
    embeddings: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)


def build(pairs: Sequence[LabelledPair], encode: Callable[[Sequence[str]], np.ndarray]) -> LabelSet:
    """Return the labels with the embedding of each label's prompt. Every distinct prompt is encoded once."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    vectors = np.asarray(encode(prompts), np.float32)
    rows = np.array([place[pair.prompt] for pair in pairs], dtype=np.intp)
    return LabelSet(tuple(pairs), vectors, rows)


def take(labels: LabelSet, rows: np.ndarray) -> LabelSet:
    """Return the labels at `rows`."""
    return LabelSet(tuple(labels.pairs[i] for i in rows), labels.vectors, labels.rows[rows])


def join(first: LabelSet, second: LabelSet) -> LabelSet:
    """Return both sets of labels, the first one's rows first."""
    pairs = (*first.pairs, *second.pairs)
    if first.vectors is second.vectors:
        return LabelSet(pairs, first.vectors, np.concatenate([first.rows, second.rows]))
    return LabelSet(pairs, np.concatenate([first.embeddings, second.embeddings]))


def distinct(labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Return (one label for each row of embeddings that is in use (M,), which of these each label has (N,))."""
    _, first, where = np.unique(labels.rows, return_index=True, return_inverse=True)
    return first, where


def group_labels(labels: LabelSet) -> list[str]:
    """Return the group of each label's prompt, as `groups` does, from one row for each prompt."""
    first, where = distinct(labels)
    names = groups([labels.pairs[i].prompt for i in first], labels.vectors[labels.rows[first]])
    return [names[i] for i in where]


def informative(labels: LabelSet, experts: Sequence[str]) -> np.ndarray:
    """Return the rows from which a policy over `experts` can learn.

    The absolute differences of usage sum to 0.05 or more, and no other expert was used.
    """
    if not len(labels):
        return np.zeros(0, dtype=np.intp)
    difference = labels.usage_difference(experts)
    known = np.array([_only_known(pair, experts) for pair in labels.pairs])
    return np.flatnonzero((np.abs(difference).sum(axis=1) >= LEAST_DIFFERENCE) & known)


def balanced_weights(weights: np.ndarray) -> np.ndarray:
    """Return (N,) float32: weights scaled to mean 1, then limited to 0.1 to 5, so that no label vanishes or rules."""
    mean = weights.mean() if len(weights) else 1.0
    return np.clip(weights / max(float(mean), 1e-12), LEAST_WEIGHT, MOST_WEIGHT).astype(np.float32)


def label_set_hash(pairs: Sequence[LabelledPair]) -> str:
    """Return the SHA-256 of what a fit depends on: the ids, targets and weights of the labels, in any order."""
    lines = sorted(f"{pair.label_id} {pair.target:.6f} {pair.weight:.6f}" for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def groups(prompts: Sequence[str], embeddings: np.ndarray, *, near: float = NEAR) -> list[str]:
    """Return the group of each prompt. Prompts with a cosine above `near` are linked, and the first names the group.

    Labels come oldest first, so a group keeps its name as labels arrive. This takes O(M^2 d) for M distinct prompts.
    Above 20,000, prompts share a group only when they differ in nothing but case and spaces.
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
    """Return train, validation and test rows, by the hash of each row's group. Their order does not matter.

    With fewer than 200 groups, the test part gets the fifth with the highest hashes, and the validation part the next
    tenth. With more, the buckets alone decide (70 / 15 / 15), and a group never moves.
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
    """Return whether every expert that either answer used is among `experts`."""
    used = {name for i, name in enumerate(pair.experts) if pair.usage_a[i] > 0 or pair.usage_b[i] > 0}
    return used <= set(experts)
