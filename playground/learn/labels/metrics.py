"""Measure how well a policy agrees with labels that it has not seen, before and after, with paired intervals.

Source: Efron, "Bootstrap methods" (1979). The bootstrap draws groups of prompts, because labels on one prompt are not
independent. This module knows no policy. It works on margins and targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

ROUNDS, DRAWN = 2000, 100
LEVEL = 0.95
LESS_IS_BETTER = frozenset({"log_loss"})


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % interval, from `n` labels. NaN when there was nothing to measure."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return JSON-ready values; NaN becomes null."""
        return {key: None if value != value else value for key, value in asdict(self).items()}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Figure":
        """Return the figure of `as_dict`."""
        value, low, high = (
            float("nan") if stored.get(key) is None else float(stored[key]) for key in ("value", "low", "high")
        )
        return cls(value, low, high, int(stored.get("n") or 0))


@dataclass(frozen=True)
class BeforeAfter:
    """One measure on the same held-out labels, for parent and new version.

    `gain` is the paired difference. Above 0 the new version is better, also where less is better.
    """

    before: Figure
    after: Figure
    gain: Figure

    def as_dict(self) -> dict[str, dict[str, float | int | None]]:
        """Return JSON-ready values."""
        return {"before": self.before.as_dict(), "after": self.after.as_dict(), "gain": self.gain.as_dict()}


def agreement(margin: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return (N,): 1 where margin and target prefer the same answer, 0 where not, one half for a margin of 0.

    It is NaN for a target of one half, because a tie does not say which answer is better.
    """
    side = np.sign(target - 0.5)
    right = np.where(np.abs(margin) < 1e-9, 0.5, (np.sign(margin) == side).astype(float))
    return np.where(side == 0, np.nan, right)


def log_loss(margin: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the cross-entropy (N,) in nats of sigmoid(margin) with a soft target. 0.693 (ln 2) is chance level."""
    return np.asarray(target * np.logaddexp(0.0, -margin) + (1 - target) * np.logaddexp(0.0, margin))


def compare(
    before: np.ndarray,
    after: np.ndarray,
    weight: np.ndarray,
    group_names: Sequence[str],
    *,
    is_loss: bool = False,
    seed: int = 0,
) -> BeforeAfter:
    """Return the weighted means of two columns (N,) of values and of the gain. NaN rows are left out.

    A loss that fell is a gain.
    """
    keep = ~(np.isnan(before) | np.isnan(after))
    gain = before - after if is_loss else after - before
    columns = np.stack([before, after, gain], axis=1)[keep]
    _, group = np.unique(np.asarray(group_names, dtype=object)[keep].astype(str), return_inverse=True)
    figures = _intervals(columns, weight[keep], group, seed)
    return BeforeAfter(*figures)


def _intervals(columns: np.ndarray, weight: np.ndarray, group: np.ndarray, seed: int) -> list[Figure]:
    """Return a figure for each column. All use the same resampled groups, so that differences are paired."""
    n = len(columns)
    if n == 0:
        return [Figure(np.nan, np.nan, np.nan, 0)] * columns.shape[1]
    count = int(group.max()) + 1
    totals = np.zeros((count, columns.shape[1]))
    np.add.at(totals, group, columns * weight[:, None])
    mass = np.bincount(group, weights=weight, minlength=count)
    mean = totals.sum(axis=0) / mass.sum()
    if count < 2:
        return [Figure(float(value), np.nan, np.nan, n) for value in mean]
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(0, ROUNDS, DRAWN):  # not at once: thousands of groups would take a hundred megabytes
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWN)
        parts.append((drawn @ totals) / (drawn @ mass)[:, None])
    means = np.concatenate(parts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Figure(float(v), float(a), float(b), n) for v, a, b in zip(mean, low, high, strict=True)]


def as_metrics(figures: Mapping[str, BeforeAfter]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Return JSON-ready figures by name."""
    return {name: figure.as_dict() for name, figure in figures.items()}


def stored_metrics(metrics: Mapping[str, Any]) -> dict[str, BeforeAfter]:
    """Return the figures of `as_metrics` in the stored metrics of a version; other entries are left out."""
    figures = {}
    for name, stored in metrics.items():
        if not isinstance(stored, Mapping) or not {"before", "after", "gain"} <= set(stored):
            continue
        before, after, gain = (Figure.of(stored[key]) for key in ("before", "after", "gain"))
        if name in LESS_IS_BETTER and gain.value * (before.value - after.value) < 0:
            # an older version has after minus before here, so that a loss that rose looked like a gain
            gain = Figure(-gain.value, -gain.high, -gain.low, gain.n)
        figures[name] = BeforeAfter(before, after, gain)
    return figures
