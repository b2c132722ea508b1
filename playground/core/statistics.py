"""Compute intervals, by formulas and by bootstrap."""

import math
from collections.abc import Sequence

import numpy as np


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion by Wilson's score, within [0, 1]. It is (0, 1) for no trials.

    Source: Wilson 1927. Unlike the normal interval, it keeps its coverage near 0 and 1.
    """
    if n == 0:
        return 0.0, 1.0
    share, z = successes / n, 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (mean, low, high) at 95 %: Wilson for values of 0 and 1, normal otherwise.

    Raise ValueError for no values.
    """
    data = np.asarray(values, np.float64)
    if data.size == 0:
        raise ValueError("no values to take the mean of")
    mean = float(data.mean())
    if np.isin(data, (0.0, 1.0)).all():
        return mean, *wilson_interval(float(data.sum()), data.size)
    half = 1.96 * float(data.std(ddof=1)) / math.sqrt(data.size) if data.size > 1 else math.inf
    return mean, mean - half, mean + half


def paired_interval(
    differences: Sequence[float], *, seed: int = 0, rounds: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (mean, low, high) of paired differences by percentile bootstrap. Raise ValueError for no differences."""
    data = np.asarray(differences, np.float64)
    if data.size == 0:
        raise ValueError("no differences to take the mean of")
    draws = np.random.default_rng(seed).integers(0, data.size, (rounds, data.size))
    means = data[draws].mean(axis=1)
    tail = (1 - level) / 2
    return float(data.mean()), float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def clustered_interval(
    values: Sequence[float], clusters: Sequence[int], *, seed: int = 0, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (mean, low, high) of values by percentile bootstrap over whole clusters, such as prompts or people.

    `clusters` gives the cluster of each value. Values of one cluster are no independent evidence. Raise ValueError for
    no values. Source: Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for Inference with Clustered
    Errors", the pairs cluster bootstrap.
    """
    data = np.asarray(values, np.float64)
    if data.size == 0:
        raise ValueError("no values to take the mean of")
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(place, data), np.bincount(place)
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    for at in range(rounds):
        draw = rng.integers(0, counts.size, counts.size)
        means[at] = sums[draw].sum() / counts[draw].sum()
    tail = (1 - level) / 2
    return float(data.mean()), float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def matthews(truth: Sequence[bool], guess: Sequence[bool]) -> float:
    """Return the Matthews correlation of two binary sequences. It is 0 when either is constant.

    Source: Matthews 1975.
    """
    a, b = np.asarray(truth, np.float64), np.asarray(guess, np.float64)
    if a.size == 0 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def matthews_interval(
    truth: Sequence[bool], guess: Sequence[bool], *, seed: int = 0, rounds: int = 1000
) -> tuple[float, float, float]:
    """Return (value, low, high) of the Matthews correlation at 95 %, by percentile bootstrap over rows."""
    a, b = np.asarray(truth, bool), np.asarray(guess, bool)
    draws = np.random.default_rng(seed).integers(0, a.size, (rounds, a.size))
    values = [matthews(a[draw].tolist(), b[draw].tolist()) for draw in draws]
    return matthews(truth, guess), float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def matthews_gain(
    truth: Sequence[bool], guess: Sequence[bool], other: Sequence[bool], *, seed: int = 0, rounds: int = 1000
) -> tuple[float, float, float]:
    """Return (difference, low, high) at 95 %: Matthews correlation of `guess` minus that of `other`.

    The interval is by paired bootstrap over rows.
    """
    a, b, c = (np.asarray(values, bool) for values in (truth, guess, other))
    draws = np.random.default_rng(seed).integers(0, a.size, (rounds, a.size))
    gains = [matthews(a[d].tolist(), b[d].tolist()) - matthews(a[d].tolist(), c[d].tolist()) for d in draws]
    gain = matthews(truth, guess) - matthews(truth, other)
    return gain, float(np.quantile(gains, 0.025)), float(np.quantile(gains, 0.975))
