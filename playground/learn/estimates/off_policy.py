"""Estimate how well a router version would have done, from answers that other versions gave.

Each logged row has the expert that answered, the probability with which it was drawn, and a reward in 0..1. Sources:
Horvitz and Thompson (1952) for IPS; Swaminathan and Joachims, "The self-normalized estimator" (2015) for SNIPS; Dudik,
Langford and Li, arXiv:1103.4601, for the doubly robust estimate; Kong (1992) for the effective sample size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_WEIGHT = 20.0  # larger weights are clipped, which biases a little and calms a lot
LEAST_ESS = 50.0  # below it, no verdict is shown
Z_95 = 1.960
SHRINKAGE = 5.0  # rewards at the overall mean that every expert is given before its own count
FOLDS = 5


@dataclass(frozen=True, eq=False)
class LoggedRows:
    """Hold N logged rows over E experts.

    `reward` (N,) is in 0..1. `taken` (N,) is the expert that answered, `propensity` (N,) the probability that it did.
    `target` (N, E) is what the judged version would do. `model` (N, E) predicts rewards. Rows of one `cluster` (N,),
    such as a person, are not independent.
    """

    reward: np.ndarray
    taken: np.ndarray
    propensity: np.ndarray
    target: np.ndarray
    model: np.ndarray
    cluster: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class ValueEstimate:
    """Hold a mean reward with its 95 % interval. NaN when there was nothing to estimate from."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicyValue:
    """Hold what the logged rows say about a version.

    `logged` is the mean reward that was really served. `effective` is the effective sample size of the `rows`.
    `clipped` is the share of weights that were clipped. `rejected` rows had no usable propensity.
    """

    logged: ValueEstimate
    ips: ValueEstimate
    snips: ValueEstimate
    doubly_robust: ValueEstimate
    effective: float
    rows: int
    clipped: float
    rejected: int

    @property
    def has_verdict(self) -> bool:
        """Return whether enough rows agree with the version to say anything."""
        return self.effective >= LEAST_ESS


def off_policy_value(logged: LoggedRows) -> OffPolicyValue:
    """Return the value of the target policy by IPS, SNIPS and doubly robust estimation. O(N E).

    IPS = mean(w r), SNIPS = sum(w r) / sum(w), DR = mean(sum_e pi_e q_e + w (r - q_taken)), with w = pi / p. Rows
    whose propensity is missing, 0 or over 1 are left out and counted.
    """
    usable = np.isfinite(logged.propensity) & (logged.propensity > 0) & (logged.propensity <= 1 + 1e-6)
    rejected = int((~usable).sum())
    rows = _where(logged, usable)
    if not len(rows):
        nothing = ValueEstimate(np.nan, np.nan, np.nan)
        return OffPolicyValue(nothing, nothing, nothing, nothing, 0.0, 0, 0.0, rejected)
    place = np.arange(len(rows))
    raw = rows.target[place, rows.taken] / rows.propensity
    weight = np.minimum(raw, MOST_WEIGHT)
    direct = (rows.target * rows.model).sum(axis=1)
    robust = direct + weight * (rows.reward - rows.model[place, rows.taken])
    total = weight.sum()
    snips = float((weight * rows.reward).sum() / total) if total > 0 else float("nan")
    influence = weight * (rows.reward - snips) / weight.mean() if total > 0 else np.full(len(rows), np.nan)
    return OffPolicyValue(
        logged=_mean(rows.reward, rows.cluster),
        ips=_mean(weight * rows.reward, rows.cluster),
        snips=_around(snips, influence, rows.cluster),
        doubly_robust=_mean(robust, rows.cluster),
        effective=float(total**2 / (weight**2).sum()) if total > 0 else 0.0,
        rows=len(rows),
        clipped=float((raw > MOST_WEIGHT).mean()),
        rejected=rejected,
    )


def mean_rewards(reward: np.ndarray, taken: np.ndarray, groups: Sequence[str], experts: int) -> np.ndarray:
    """Return (N, E): the mean reward of each expert over the rows of other folds, shrunk to the overall mean.

    Rows of one group (a prompt) share a fold, so no row predicts itself. The doubly robust estimate is unbiased with
    any such model; a better one only narrows its interval.
    """
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(names))[place] % FOLDS if len(names) else np.zeros(0, int)
    found = np.zeros((len(reward), experts))
    for each in range(FOLDS):
        others, own = fold != each, fold == each
        overall = reward[others].mean() if others.any() else 0.5
        total = np.bincount(taken[others], weights=reward[others], minlength=experts)
        count = np.bincount(taken[others], minlength=experts)
        found[own] = (total + SHRINKAGE * overall) / (count + SHRINKAGE)
    return found


def _where(rows: LoggedRows, keep: np.ndarray) -> LoggedRows:
    return LoggedRows(
        rows.reward[keep],
        rows.taken[keep],
        rows.propensity[keep],
        rows.target[keep],
        rows.model[keep],
        np.asarray(rows.cluster)[keep],
    )


def _mean(values: np.ndarray, cluster: np.ndarray) -> ValueEstimate:
    mean = float(values.mean())
    return _around(mean, values - mean, cluster)


def _around(value: float, influence: np.ndarray, cluster: np.ndarray) -> ValueEstimate:
    """Return the value with an interval from its influence (N,), summed within clusters (a sandwich estimate)."""
    names, place = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return ValueEstimate(value, np.nan, np.nan)
    sums = np.bincount(place, weights=influence)
    error = np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(influence)
    return ValueEstimate(value, float(value - Z_95 * error), float(value + Z_95 * error))
