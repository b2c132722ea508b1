"""Strengths against published examples, closed forms and reference libraries."""

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.learn.understanding.strengths import ELO, bootstrap, fit
from playground.learn.understanding.votes import STYLES
from tests.learn.understanding.conftest import planted, tallied, votes

WINS = np.array([[0, 2, 0, 1], [3, 0, 5, 0], [0, 3, 0, 1], [4, 0, 3, 0]])
FOUR = votes([(i, j, 0) for i in range(4) for j in range(4) for _ in range(WINS[i, j])])
THREE = votes(tallied({(0, 1): (12, 4, 6), (0, 2): (15, 2, 3), (1, 2): (9, 6, 7)}))
TWO = votes(tallied({(0, 1): (6, 3, 1)}))
TINY = 1e-7


def test_bradley_terry_has_the_published_example() -> None:
    """Four players of the encyclopaedia's article on the model: 0.640, 1.043, 0.660, 2.270."""
    found = fit(FOUR, ridge=TINY)
    assert np.exp(found.scores) == pytest.approx([0.640, 1.043, 0.660, 2.270], abs=1e-3)
    assert found.ratings == pytest.approx([922.4, 1007.4, 927.8, 1142.4], abs=0.1)
    assert found.log_likelihood == pytest.approx(-13.4285, abs=1e-3)
    reference = choix.ilsr_pairwise(4, [(i, j) for i in range(4) for j in range(4) for _ in range(WINS[i, j])])
    assert found.scores == pytest.approx(reference - reference.mean(), abs=1e-3)


def test_ties_have_the_worked_example() -> None:
    davidson, half = fit(THREE, ridge=TINY), fit(THREE, ties="half", ridge=TINY)
    assert davidson.scores == pytest.approx([0.7880, -0.1665, -0.6215], abs=1e-3)
    assert davidson.nu == pytest.approx(0.5185, abs=1e-3)
    assert davidson.log_likelihood == pytest.approx(-61.348, abs=1e-3)
    assert half.scores == pytest.approx([0.6212, -0.1311, -0.4900], abs=1e-3)
    assert half.ratings == pytest.approx([1107.9, 977.2, 914.9], abs=0.1)
    assert half.errors == pytest.approx([35.6, 32.7, 33.4], abs=0.1)


def test_two_players_have_the_closed_form() -> None:
    davidson, half = fit(TWO, ridge=TINY), fit(TWO, ties="half", ridge=TINY)
    assert davidson.scores[0] - davidson.scores[1] == pytest.approx(np.log(6), abs=1e-3)
    assert davidson.nu == pytest.approx(3 / np.sqrt(6), abs=1e-3)
    assert half.scores[0] - half.scores[1] == pytest.approx(np.log(3), abs=1e-3)
    assert davidson.chances(np.array([np.log(6)]))[0] == pytest.approx([0.6, 0.3, 0.1], abs=1e-3)


def test_the_sandwich_is_that_of_statsmodels() -> None:
    """A logit with an independent sandwich by person, without intercept; the first entity is the reference there."""
    made = planted([0.6, 0.1, -0.7], 600, tie=0.0, people=40)
    design = np.eye(3)[made.first] - np.eye(3)[made.second]
    groups = {"groups": made.people, "use_correction": False, "df_correction": False}
    model = sm.Logit((made.outcome == 0).astype(float), design[:, 1:])
    reference = model.fit(disp=0, cov_type="cluster", cov_kwds=groups)
    found = fit(made, ridge=TINY)
    assert found.scores[1:] - found.scores[0] == pytest.approx(reference.params, abs=1e-3)
    contrast = np.array([[-1, 1, 0], [-1, 0, 1]])
    assert contrast @ found.covariance @ contrast.T == pytest.approx(reference.cov_params(), abs=1e-4)


def test_the_intervals_of_both_kinds_hold_the_truth_and_agree() -> None:
    truth = np.array([0.5, 0.2, -0.1, -0.6])
    made = planted(truth.tolist(), 3000, people=60, prompts=300)
    found, drawn = fit(made), bootstrap(made, rounds=200)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    assert np.all((low - 0.05 < truth) & (truth < high + 0.05))
    assert drawn.std(axis=0) * ELO == pytest.approx(found.errors, rel=0.25)


def test_style_is_told_from_strength() -> None:
    """Four experts 17 or 52 points from the middle; the weaker ones write longer, and length wins by 0.5."""
    truth = np.array([52, 17, -17, -52]) / ELO
    made = planted([0, 0, 0, 0], 6000, tie=0.0, seed=3, people=200)
    rng = np.random.default_rng(1)
    style = np.zeros((6000, len(STYLES)))
    style[:, 0] = 0.6 * (made.first - made.second) + rng.normal(size=6000)
    style[:, 0] /= style[:, 0].std()
    difference = truth[made.first] - truth[made.second] + 0.5 * style[:, 0]
    outcome = np.where(rng.random(6000) < 1 / (1 + np.exp(-difference)), 0, 2)
    made = votes(list(zip(made.first, made.second, outcome, strict=True)), style=style, people=made.people)
    found = fit(made, has_style=True)
    assert found.ratings - 1000 == pytest.approx([52, 17, -17, -52], abs=12)
    assert found.style[0] == pytest.approx(0.5, abs=0.06)
    assert abs(fit(made).ratings - 1000 - [52, 17, -17, -52]).max() > 30, "without control the long writers gain"


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_which_answer_is_called_a_changes_nothing(seed: int) -> None:
    made = planted([0.4, 0.0, -0.3], 60, seed=seed)
    flip = np.random.default_rng(seed).random(60) < 0.5
    first, second = np.where(flip, made.second, made.first), np.where(flip, made.first, made.second)
    outcome = np.where(flip, 2 - made.outcome, made.outcome)
    turned = votes(list(zip(first, second, outcome, strict=True)), people=made.people, prompts=made.prompts)
    assert fit(turned).scores == pytest.approx(fit(made).scores, abs=1e-8)
    assert bootstrap(turned, rounds=5) == pytest.approx(bootstrap(made, rounds=5), abs=1e-6)


def test_twice_the_votes_of_the_same_people_are_no_more_evidence() -> None:
    made = planted([0.4, 0.0, -0.3], 400, people=30)
    twice = made.only(np.tile(np.arange(400), 2))
    assert fit(twice, ridge=TINY).scores == pytest.approx(fit(made, ridge=TINY).scores, abs=1e-5)
    assert fit(twice).errors == pytest.approx(fit(made).errors, rel=0.01)


def test_nobody_who_never_lost_is_infinite_and_unseen_ones_are_average() -> None:
    found = fit(votes([(0, 1, 0)] * 10 + [(2, 1, 1)]))
    assert np.isfinite(found.ratings).all()
    assert found.scores[0] > found.scores[2] > found.scores[1]
    assert fit(votes([])).scores.tolist() == [0.0]
