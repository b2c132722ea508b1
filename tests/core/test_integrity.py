"""Which votes count: excluded ones have a reason, unknown ones count, and a moving share raises an alarm."""

from typing import Any

import pytest

from playground.core.integrity import CHECK, INATTENTIVE, REPEAT, measured, standings
from playground.core.preferences import Verdict
from tests.label_rows import label_row


def votes(*kinds: str, who: str = "me", start: int = 0) -> list[Any]:
    """Return votes in order: `o` ordinary, `r` a right check, `w` a wrong one, `k` a skipped one, `d` a repeat."""
    made = []
    for number, kind in enumerate(kinds, start):
        fields: dict[str, Any] = {"label_id": f"{number:05d}", "labeller_id": who, "verdict": Verdict.A}
        if kind in "rwk":
            fields |= {"selection": "check", "check_answer": "a"}
            fields["verdict"] = {"r": Verdict.A, "w": Verdict.B, "k": Verdict.SKIP}[kind]
        if kind == "d":
            fields |= {"selection": "duplicate", "duplicate_of": "c"}
        made.append(label_row(number, **fields))
    return made


def test_checks_and_repeats_do_not_count_and_say_why() -> None:
    found = standings(votes("o", "r", "d"))
    assert [found[key].reason for key in sorted(found)] == ["", CHECK, REPEAT]
    assert [found[key].counts for key in sorted(found)] == [True, False, False]


@pytest.mark.parametrize(
    ("checks", "attention"),
    [("", "unknown"), ("ww", "unknown"), ("kkkkk", "unknown"), ("rrr", "good"), ("www", "bad"), ("wwwrrrr", "good")],
)
def test_what_cannot_be_checked_is_unknown_and_counts(checks: str, attention: str) -> None:
    last = standings(votes(*checks, "o"))[f"{len(checks):05d}"]
    assert (last.attention, last.counts) == (attention, attention != "bad")
    assert last.reason == (INATTENTIVE if attention == "bad" else "")


def test_a_vote_before_the_wrong_checks_counts_and_so_do_other_people() -> None:
    found = standings([*votes("o", "w", "w", "w", "o"), *votes("o", who="another", start=9)])
    assert [found[key].counts for key in ("00000", "00004", "00009")] == [True, False, True]


def test_an_alarm_says_how_the_share_moved_and_needs_enough_votes() -> None:
    assert measured(votes(*"o" * 60, *"d" * 30)).alarm == ""
    assert measured(votes(*"od" * 100)).alarm == ""
    moved = measured(votes(*"o" * 100, *"do" * 25))
    assert moved.alarm == "The share of excluded votes rose from 0% to 50% in the last 50 votes."
    assert (moved.votes, moved.excluded, moved.reasons) == (150, 25, {REPEAT: 25})
    assert "fell" in measured(votes(*"do" * 50, *"o" * 50)).alarm


def test_no_votes_are_no_trouble() -> None:
    assert (measured([]).votes, measured([]).alarm) == (0, "")
