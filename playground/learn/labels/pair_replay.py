"""Replay real votes: a policy chooses pairs, and the answer is a vote that people gave on that pair and prompt.

The worth of an expert on a held-out prompt is the mean of its votes there. The measure is the share of the gap between
a random expert and the best one that routing by the learned scores closes.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from playground.errors import InvalidRequest
from playground.learn.labels.belief import Belief, Space
from playground.learn.labels.pairs import PAIR_POLICIES, all_pairs, mixed

TARGETS = {"a": 1.0, "tie": 0.5, "b": 0.0}
BATCH = 25
HELD_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class RealVotes:
    """Embeddings (P, d) of prompts, and votes as rows of (prompt, first expert, second expert, P(first is better))."""

    embeddings: np.ndarray
    rows: np.ndarray
    experts: int


def read(path: Path, encode: Callable[[Sequence[str]], np.ndarray]) -> RealVotes:
    """Return the votes of a gzipped file of JSON lines that name both models. Raise InvalidRequest for another file."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            read = [json.loads(line) for line in file]
        prompts = list(dict.fromkeys(row["prompt"] for row in read))
        models = sorted({row[side] for row in read for side in ("model_a", "model_b")})
        rows = [
            (
                prompts.index(row["prompt"]),
                models.index(row["model_a"]),
                models.index(row["model_b"]),
                TARGETS[row["winner"]],
            )
            for row in read
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{path.name} holds no votes between named models.", "Choose another file.") from error
    return RealVotes(np.asarray(encode(prompts), np.float64), np.array(rows, float), len(models))


def replayed(policy: str, votes: RealVotes, budgets: Sequence[int], seed: int) -> list[float]:
    """Return the share of the gap closed on held-out prompts after each number of votes. A seed splits the prompts."""
    chooser, pairs = PAIR_POLICIES.get(policy), all_pairs(votes.experts)
    split = np.random.default_rng([seed, 19]).permutation(len(votes.embeddings))
    held, asked = np.split(split, [int(HELD_SHARE * len(split))])
    features = Space.of(votes.embeddings[asked]).features(votes.embeddings)
    given = _by_pair(votes, pairs)
    order = np.random.default_rng([seed, 23]).choice(asked, size=max(budgets))  # the same for every policy
    rng, found = np.random.default_rng([seed, 29]), []
    rows: list[tuple[int, int, int, float]] = []
    belief = _fitted(features, rows, votes.experts)
    for count, prompt in enumerate(order, 1):
        there = [i for i in range(len(pairs)) if (int(prompt), i) in given]
        chances = mixed(chooser.probabilities(*belief.at(features[prompt]), pairs, rng))[there]
        pair = there[int(rng.choice(len(there), p=chances / chances.sum()))]
        rows.append((int(prompt), *pairs[pair], rng.choice(given[int(prompt), pair])))
        if count % BATCH == 0 or count in budgets:
            belief = _fitted(features, rows, votes.experts)
        if count in budgets:
            found.append(gap_of(belief.scores(features[held]), _worth(votes)[held]))
    return found


def _by_pair(votes: RealVotes, pairs: np.ndarray) -> dict[tuple[int, int], list[float]]:
    """Return the votes by (prompt, number of the pair), each as P(the smaller expert is better)."""
    place = {tuple(pair): i for i, pair in enumerate(pairs.tolist())}
    found: dict[tuple[int, int], list[float]] = {}
    for prompt, first, second, target in votes.rows.tolist():
        if first != second:
            key = int(prompt), place[tuple(sorted((int(first), int(second))))]
            found.setdefault(key, []).append(target if first < second else 1 - target)
    return found


def _worth(votes: RealVotes) -> np.ndarray:
    """Return (P, E) the mean of each expert's votes on each prompt, 0.5 where it has none."""
    sums, counts = np.zeros((2, len(votes.embeddings), votes.experts))
    prompt, first, second = votes.rows[:, :3].astype(int).T
    for expert, score in ((first, votes.rows[:, 3]), (second, 1 - votes.rows[:, 3])):
        np.add.at(sums, (prompt, expert), score)
        np.add.at(counts, (prompt, expert), 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 0.5)


def _fitted(features: np.ndarray, rows: Sequence[tuple[int, int, int, float]], experts: int) -> Belief:
    table = np.array(rows, float).reshape(-1, 4)
    prompts, first, second = table[:, :3].astype(int).T
    return Belief.fitted(features[prompts], first, second, table[:, 3], experts=experts)


def gap_of(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the gap from random to best that routing by `scores` (N, E) closes. `truth` is (N, E)."""
    best, random = truth.max(1).mean(), truth.mean()
    return float((truth[np.arange(len(truth)), scores.argmax(1)].mean() - random) / (best - random))
