"""Compare policies that choose pairs where the truth is known: a planted world of topics.

The planted world is that of the label-budget curves: topics in an embedding space, a score of every expert on every
topic, and Bradley-Terry labels. All policies of one seed see the same world and the same prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from playground.learn.labels.belief import Belief, Space, sigmoid
from playground.learn.labels.pair_replay import RealVotes, gap_of, replayed
from playground.learn.labels.pairs import PAIR_POLICIES, draw

TOPICS, WIDTH, EXPERTS, DEVIATION, NOISE = 8, 384, 6, 2.0, 0.6
BATCH = 25
PROMPTS = 600
BUDGETS = (50, 100, 200)
UNIFORM = "uniform"


@dataclass(frozen=True, eq=False)
class PlantedTopics:
    """Prompts that can be asked (N, d), their true scores (N, E), and the same for prompts that are held out."""

    asked: np.ndarray
    scores: np.ndarray
    held: np.ndarray
    held_scores: np.ndarray
    flips: float = 0.0


def planted(seed: int, *, flips: float = 0.0) -> PlantedTopics:
    """Return a world from a seed. A share `flips` of its labels is turned round."""
    rng = np.random.default_rng([seed, 7])
    centres = rng.normal(size=(TOPICS, WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    scores = rng.normal(0, DEVIATION, (TOPICS, EXPERTS))
    topic = rng.integers(TOPICS, size=2 * PROMPTS)
    points = centres[topic] + rng.normal(0, NOISE / np.sqrt(WIDTH), (2 * PROMPTS, WIDTH))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    halves = points[:PROMPTS], scores[topic[:PROMPTS]], points[PROMPTS:], scores[topic[PROMPTS:]]
    return PlantedTopics(*halves, flips=flips)


def gap_closed(policy: str, world: PlantedTopics, budgets: Sequence[int], seed: int) -> list[float]:
    """Return the share of the gap from random to best routing that is closed after each number of labels."""
    chooser, rng = PAIR_POLICIES.get(policy), np.random.default_rng([seed, 11])
    # the prompts come in the same order under every policy
    order = np.random.default_rng([seed, 13]).integers(len(world.asked), size=max(budgets))
    space = Space.of(world.asked)
    features, held = space.features(world.asked), space.features(world.held)
    experts = world.scores.shape[1]
    rows: list[tuple[int, int, int, float]] = []
    belief, found = _belief(features, rows, experts), []
    for count, prompt in enumerate(order, 1):
        first, second, _ = draw(chooser, *belief.at(features[prompt]), rng)
        wins = rng.random() < sigmoid(world.scores[prompt, first] - world.scores[prompt, second])
        wins ^= rng.random() < world.flips
        rows.append((int(prompt), first, second, float(wins)))
        if count % BATCH == 0 or count in budgets:
            belief = _belief(features, rows, experts)
        if count in budgets:
            found.append(gap_of(belief.scores(held), world.held_scores))
    return found


def trial(*, seeds: int, flips: float, votes: RealVotes | None, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of every policy on `seeds` planted worlds, and on as many splits of real `votes`."""
    planted_figures = _figures(
        lambda name, seed: gap_closed(name, planted(seed, flips=flips), BUDGETS, seed), seeds, tell
    )
    found = {"seeds": seeds, "flips": flips, "policies": planted_figures}
    if votes is not None:
        found["replay"] = _figures(lambda name, seed: replayed(name, votes, BUDGETS, seed), seeds, tell)
    return found


def _figures(
    closed_by: Callable[[str, int], list[float]], seeds: int, tell: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return by policy and number of labels the mean share of the gap closed, and the difference to uniform choice.

    The difference is paired by seed and has a 95 % interval. `beats_uniform` says whether that is above 0.
    """
    closed: dict[str, np.ndarray] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in [UNIFORM, *(name for name in PAIR_POLICIES if name != UNIFORM)]:
        tell(name)
        closed[name] = np.array([closed_by(name, seed) for seed in range(seeds)])
        found[name] = {}
        for column, budget in enumerate(BUDGETS):
            mean, low, high = compared(closed[name][:, column], closed[UNIFORM][:, column])
            found[name][str(budget)] = {
                "gap_closed": float(closed[name][:, column].mean()),
                "difference": mean,
                "low": low,
                "high": high,
                "beats_uniform": low > 0,
            }
    return found


def compared(values: np.ndarray, baseline: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of the paired differences (S,) over seeds and its 95 % interval by 10,000 resamples."""
    differences = values - baseline
    drawn = np.random.default_rng(seed).choice(differences, size=(10_000, len(differences))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def _belief(features: np.ndarray, rows: Sequence[tuple[int, int, int, float]], experts: int) -> Belief:
    prompts, first, second, target = (np.array(column) for column in zip(*rows, strict=True)) if rows else _NOTHING
    return Belief.fitted(features[prompts], first, second, target, experts=experts)


_NOTHING = (np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0))
