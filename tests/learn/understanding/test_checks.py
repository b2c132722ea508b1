"""What a score hides, in worlds where it was planted."""

from dataclasses import replace

import numpy as np
import pytest

from playground.core.preferences import Verdict
from playground.learn.understanding.checks import (
    TiesCompared,
    calibration,
    ceiling,
    compare_ties,
    confounding,
    cycles,
    drift,
    held_out,
)
from tests.learn.understanding.conftest import planted, rows_of, side_of, tallied, votes

ROCK = votes(tallied({(0, 1): (90, 0, 10), (1, 2): (90, 0, 10), (2, 0): (90, 0, 10)}))


def test_a_cycle_is_what_no_score_explains() -> None:
    found = cycles(ROCK)
    assert found.share == pytest.approx(1.0, abs=1e-6)
    assert found.p < 1e-6
    assert found.worst is not None
    assert {frozenset(found.worst[:3])} == {frozenset("abc")}
    assert found.worst[3] == pytest.approx(0.9)
    a, b, _, _ = found.worst
    assert ROCK.wins()[ROCK.names.index(a), ROCK.names.index(b)] == 90, "the way is told in the direction of the wins"


def test_a_score_explains_votes_that_come_from_one() -> None:
    found = cycles(planted([1.0, 0.3, -0.3, -1.0], 3000, tie=0.3))
    assert found.share < 0.05
    assert found.p > 0.01
    assert cycles(votes([(0, 1, 0)] * 5)).share == 0.0


def test_held_out_votes_are_calibrated_and_foreseen_as_well_as_can_be() -> None:
    made = planted([1.2, 0.0, -1.2], 4000, tie=0.3, prompts=400)
    predicted = held_out(made)
    assert calibration(predicted).error < 0.03
    best = np.where(
        made.decided.outcome == 0, made.decided.first < made.decided.second, made.decided.first > made.decided.second
    )
    assert predicted.right.mean() == pytest.approx(best.mean(), abs=0.01)
    overconfident = replace(predicted, chance=np.clip(predicted.chance * 3 - 1, 0.01, 0.99))
    assert calibration(overconfident).error > 0.05


def test_no_prompt_is_in_both_parts() -> None:
    """One prompt decides everything: held out, it is a coin toss."""
    made = votes([(0, 1, 0)] * 50 + [(0, 1, 2)] * 50, prompts=np.repeat([0, 1], 50))
    assert held_out(made).right.mean() == 0.0


def test_ties_are_compared_on_the_same_held_out_votes() -> None:
    made = planted([0.5, 0.1, -0.2, -0.4], 500, tie=3.0, seed=1)
    compared = compare_ties(made)
    assert set(compared.loss) == {"davidson", "half", "without"}
    for way in ("davidson", "half"):
        assert compared.gain[way][0] == pytest.approx(compared.loss["without"] - compared.loss[way])
    assert compare_ties(made.decided).gain["davidson"] == pytest.approx((0, 0, 0), abs=1e-6), (
        "without ties, no difference"
    )


def test_what_the_ties_are_worth_is_said_with_its_figures() -> None:
    told = TiesCompared({}, {"davidson": (0.01, 0.002, 0.02), "half": (-0.01, -0.02, -0.001)}).sentences
    assert "Davidson's ties predict held-out votes better than ratings without ties: +0.0100" in told[0]
    assert "half a win predict held-out votes worse than" in told[1]
    assert "as well as" in TiesCompared({}, {"davidson": (0.0, -0.1, 0.1), "half": (0.0, -0.1, 0.1)}).sentences[0]


def test_drift_is_found_where_it_is() -> None:
    early, late = planted([0.8, 0.0, -0.8], 600), planted([-0.8, 0.0, 0.8], 600, seed=1)
    turned = votes(
        [
            *zip(early.first, early.second, early.outcome, strict=True),
            *zip(late.first, late.second, late.outcome, strict=True),
        ]
    )
    found = drift(turned)
    assert found.p < 1e-6
    assert found.moved in ("a", "c")
    assert abs(found.points) > 150
    assert drift(planted([0.8, 0.0, -0.8], 1200)).p > 0.01


def test_authors_that_tell_everything_are_named() -> None:
    """The strong one always wins: whoever trains on this learns who wrote, not what is good."""
    made = votes([(i % 2, 1 - i % 2, 0 if i % 2 == 0 else 2) for i in range(100)])
    found = confounding(made, held_out(made))
    assert found.is_telling
    assert found.by_author[0] == 1.0
    assert "authors instead of quality" in found.sentence
    even = planted([0.0, 0.0, 0.0], 900)
    assert not confounding(even, held_out(even)).is_telling


def test_the_ceiling_is_what_people_agree_on() -> None:
    rows = []
    for item in range(40):
        made = rows_of(votes([(0, 1, 0)] * 3 + [(0, 1, 2)]), comparison_id=f"item {item}")
        rows += made
    found = ceiling(rows, votes([(0, 1, 0)] * 3 + [(0, 1, 2)]))
    assert found.people is not None
    assert found.people[0] == pytest.approx(0.75), "three follow the other two, the fourth stands against three"
    assert found.pairs is not None
    assert found.pairs[0] == pytest.approx(0.75)
    alone = rows_of(votes([(0, 1, 0)]))
    assert ceiling(alone, votes([(0, 1, 0)])).people is None
    assert side_of("a").expert == "a"
    assert Verdict.A.choice == "a"
