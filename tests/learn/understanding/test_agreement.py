"""Agreement against published examples and reference libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from playground.core.preferences import Verdict
from playground.learn.understanding.agreement import agreement_of, alpha, cohen, fleiss, percent
from tests.label_rows import label_row

NAN = np.nan
# Krippendorff 2011, example C: four observers, twelve units
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
# Fleiss 1971, as in the encyclopaedia: ten subjects, fourteen raters, five categories
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_has_the_published_values(level: str, value: float) -> None:
    assert alpha(PUBLISHED, level) == pytest.approx(value, abs=1e-3)  # type: ignore[arg-type]


def test_alpha_of_two_people_has_the_published_value() -> None:
    both = np.array([[int(c) for c in "0100000010"], [int(c) for c in "1110010000"]], float)
    assert alpha(both) == pytest.approx(0.0952, abs=1e-3)


def test_fleiss_has_the_published_value_and_that_of_statsmodels() -> None:
    assert fleiss(FLEISS) == pytest.approx(0.2099, abs=1e-3)
    assert fleiss(FLEISS) == pytest.approx(fleiss_kappa(FLEISS), abs=1e-9)
    assert percent(FLEISS) == pytest.approx(0.3780, abs=1e-3)


@pytest.mark.parametrize(
    ("table", "value"), [([[20, 5], [10, 15]], 0.4), ([[45, 15], [25, 15]], 0.1304), ([[25, 35], [5, 35]], 0.2593)]
)
def test_cohen_has_the_published_values_and_those_of_statsmodels(table: list[list[int]], value: float) -> None:
    cells = [(i, j) for i in range(2) for j in range(2) for _ in range(table[i][j])]
    found = cohen(*map(list, zip(*cells, strict=True)))
    assert found == pytest.approx(value, abs=1e-3)
    assert found == pytest.approx(cohens_kappa(np.array(table), return_results=False), abs=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_no_names_of_people_and_no_sides_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, 3, (4, 30)).astype(float)
    ratings[rng.random((4, 30)) < 0.3] = NAN
    for level in ("nominal", "ordinal"):
        assert alpha(ratings[::-1], level) == pytest.approx(alpha(ratings, level))  # type: ignore[arg-type]
        assert alpha(2 - ratings, level) == pytest.approx(alpha(ratings, level))  # type: ignore[arg-type]


def test_perfect_random_and_undefined_agreement() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 400).astype(float)
    assert alpha(np.stack([one, one])) == 1.0
    assert abs(alpha(rng.integers(0, 3, (3, 2000)).astype(float))) < 0.04
    assert np.isnan(alpha(np.ones((3, 5))))
    assert np.isnan(alpha(np.array([[1.0, NAN], [NAN, 2.0]]))), "nobody rated what another did"
    assert np.isnan(fleiss(np.array([[3, 0], [3, 0]])))
    assert np.isnan(cohen([1, 1], [1, 1]))


def test_labels_are_compared_by_comparison_and_the_last_one_counts() -> None:
    rows = [
        label_row(i, comparison_id=f"c{i % 30}", labeller_id=f"p{i // 30}", verdict=[Verdict.A, Verdict.B][i % 2])
        for i in range(60)
    ]
    found = agreement_of(rows, rounds=50)
    assert (found.labels, found.items, found.people, found.pairs) == (60, 30, 2, 1)
    assert found.alpha_nominal == (1.0, 1.0, 1.0)
    assert found.cohen == 1.0
    alone = agreement_of(rows[:30], rounds=50)
    assert alone.items == 0
    assert np.isnan(alone.alpha_nominal[0])
    assert agreement_of([], rounds=5).labels == 0
