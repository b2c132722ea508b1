"""Intervals: of clusters against their closed form, and against values of one cluster that are no evidence."""

import numpy as np
import pytest

from playground.core.statistics import clustered_interval


def test_clusters_of_one_value_have_the_usual_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = clustered_interval(values.tolist(), list(range(400)))
    half = 1.96 * values.std(ddof=1) / 20
    assert mean == pytest.approx(values.mean())
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.15), pytest.approx(half, rel=0.15))


def test_repeating_values_within_clusters_narrows_nothing() -> None:
    values = np.random.default_rng(0).normal(size=100)
    alone = clustered_interval(values.tolist(), list(range(100)))
    repeated = clustered_interval(np.repeat(values, 9).tolist(), np.repeat(np.arange(100), 9).tolist())
    assert repeated == pytest.approx(alone)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        clustered_interval([], [])
