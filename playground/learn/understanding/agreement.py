"""Measure how much people agree: percent, Cohen's, Fleiss' and Krippendorff's coefficients.

A table of ratings is (raters, items) with NaN where somebody did not rate. Cohen's kappa is scikit-learn's. The package
`krippendorff` is under the GPL, so alpha is computed here, and tested against published examples.

Sources: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; Fleiss 1971; Cohen 1960.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.metrics import cohen_kappa_score

from playground.core.records import LabelRow
from playground.learn.understanding.votes import OUTCOMES

Level = Literal["nominal", "ordinal", "interval"]
ROUNDS = 500
MIN_SHARED = 20  # items that two people both rated, before their kappa counts


@dataclass(frozen=True)
class Agreement:
    """Hold the coefficients of one set of labels, each as (value, low, high) at 95 %; NaN where undefined.

    `items` were rated by at least two people. `pairs` of people share 20 items or more; `cohen` is the mean over them.
    """

    labels: int
    items: int
    people: int
    percent: tuple[float, float, float]
    percent_decided: tuple[float, float, float]
    alpha_nominal: tuple[float, float, float]
    alpha_ordinal: tuple[float, float, float]
    fleiss: tuple[float, float, float]
    cohen: float
    pairs: int


def alpha(ratings: np.ndarray, level: Level = "nominal") -> float:
    """Return Krippendorff's alpha of ratings (R, N). It is NaN when all ratings are equal or none can be compared."""
    return _alpha(_counts(ratings), np.unique(ratings[~np.isnan(ratings)]), level)


def fleiss(counts: np.ndarray) -> float:
    """Return Fleiss' kappa of counts (items, categories). Items may have different numbers of raters, at least two.

    With different numbers, the agreement of an item counts as much as it has ratings. NaN when all ratings are equal.
    """
    counts = counts[counts.sum(axis=1) >= 2]
    size = counts.sum(axis=1)
    if not len(counts):
        return float("nan")
    same = (counts * (counts - 1)).sum(axis=1) / (size * (size - 1))
    observed = float((same * size).sum() / size.sum())
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def percent(counts: np.ndarray) -> float:
    """Return how often two people of one item agree, averaged over items (N, categories). NaN without such items."""
    counts = counts[counts.sum(axis=1) >= 2]
    size = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (size * (size - 1))).mean()) if len(counts) else float("nan")


def cohen(first: Sequence[int], second: Sequence[int]) -> float:
    """Return Cohen's kappa of two raters on the same items. NaN when both always gave one and the same rating."""
    if len(set(first) | set(second)) < 2:
        return float("nan")
    return float(cohen_kappa_score(first, second))


def agreement_of(rows: Sequence[LabelRow], *, rounds: int = ROUNDS, seed: int = 0) -> Agreement:
    """Return how much the people of these labels agree on who won: A, tie or B. Skips are left out.

    "Both are bad" counts as a tie. The intervals are by bootstrap over items. A person's last label of an item counts.
    """
    ratings = ratings_of(rows)
    counts = _counts(ratings)
    shared = counts[counts.sum(axis=1) >= 2]
    values = np.unique(ratings[~np.isnan(ratings)])
    draws = np.random.default_rng(seed).integers(0, max(len(shared), 1), (rounds, max(len(shared), 1)))

    def told(measure: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
        found = [measure(shared[draw]) for draw in draws] if len(shared) else []
        found = [value for value in found if not np.isnan(value)]
        low, high = np.quantile(found, (0.025, 0.975)) if found else (float("nan"), float("nan"))
        return measure(shared), float(low), float(high)

    decided = values != OUTCOMES["tie"]
    kappas = _cohens(ratings)
    return Agreement(
        labels=int((~np.isnan(ratings)).sum()),
        items=len(shared),
        people=len(ratings),
        percent=told(percent),
        percent_decided=told(lambda table: percent(table[:, decided])),
        alpha_nominal=told(lambda table: _alpha(table, values, "nominal")),
        alpha_ordinal=told(lambda table: _alpha(table, values, "ordinal")),
        fleiss=told(fleiss),
        cohen=float(np.mean(kappas)) if kappas else float("nan"),
        pairs=len(kappas),
    )


def ratings_of(rows: Sequence[LabelRow]) -> np.ndarray:
    """Return (people, comparisons) of 0 for A, 1 for a tie, 2 for B, NaN where somebody did not vote."""
    told = [row for row in rows if row.verdict.choice in OUTCOMES]
    people = {name: place for place, name in enumerate(dict.fromkeys(row.labeller_id for row in told))}
    items = {name: place for place, name in enumerate(dict.fromkeys(row.comparison_id for row in told))}
    ratings = np.full((len(people), len(items)), np.nan)
    for row in sorted(told, key=lambda row: row.created_at):
        ratings[people[row.labeller_id], items[row.comparison_id]] = OUTCOMES[row.verdict.choice]
    return ratings


def _cohens(ratings: np.ndarray) -> list[float]:
    """Return the kappa of every two people who share enough items."""
    found = []
    there = (~np.isnan(ratings)).astype(int)
    for first, second in np.argwhere(np.triu(there @ there.T >= MIN_SHARED, k=1)):
        both = (there[first] * there[second]).astype(bool)
        found.append(cohen(ratings[first, both].astype(int).tolist(), ratings[second, both].astype(int).tolist()))
    return [value for value in found if not np.isnan(value)]


def _counts(ratings: np.ndarray) -> np.ndarray:
    """Return (items, values): how many people gave each value."""
    values = np.unique(ratings[~np.isnan(ratings)])
    return np.stack([(ratings == value).sum(axis=0) for value in values], axis=-1) if len(values) else np.zeros((0, 0))


def _alpha(counts: np.ndarray, values: np.ndarray, level: Level) -> float:
    """Return alpha = 1 - D_o / D_e from the counts (items, values), by the coincidences of values within items."""
    counts = counts[counts.sum(axis=1) >= 2].astype(float)
    if not len(counts):
        return float("nan")
    weights = 1.0 / (counts.sum(axis=1) - 1)
    coincidences = (counts * weights[:, None]).T @ counts - np.diag((counts * weights[:, None]).sum(axis=0))
    totals = coincidences.sum(axis=1)
    n = totals.sum()
    distance = _distances(totals, values, level)
    expected = float((np.outer(totals, totals) * distance).sum() / (n * (n - 1)))
    return 1.0 - float((coincidences * distance).sum() / n) / expected if expected > 0 else float("nan")


def _distances(totals: np.ndarray, values: np.ndarray, level: Level) -> np.ndarray:
    if level == "nominal":
        return np.asarray(1.0 - np.eye(len(values)))
    if level == "interval":
        return np.asarray((values[:, None] - values[None]) ** 2)
    upto = np.cumsum(totals)
    middle = upto - totals / 2  # the sum from c to k, less half of both ends, is a difference of middles
    return np.asarray((middle[:, None] - middle[None]) ** 2)
