"""A whole board from labels, and when there is none."""

import numpy as np
import pytest

from playground.core.preferences import Verdict
from playground.learn.understanding.board import Board, TooFew, board_of
from playground.learn.understanding.votes import category_of, style_counts, style_difference, votes_of
from tests.label_rows import label_row
from tests.learn.understanding.conftest import planted, rows_of, votes


@pytest.mark.parametrize("entity", ["expert", "router", "version"])
def test_a_board_ranks_what_was_planted(entity: str) -> None:
    made = planted([1.2, 0.4, -0.4, -1.2], 800, people=25)
    found = board_of(rows_of(made), entity, rounds=100)  # type: ignore[arg-type]
    assert isinstance(found, Board)
    assert [line.name[-1] for line in found.standings] == ["a", "b", "c", "d"]
    assert [line.rank for line in found.standings] == [1, 2, 3, 4]
    assert all(line.low < line.rating < line.high for line in found.standings)
    assert all(line.votes == line.wins + line.ties + line.losses for line in found.standings)
    assert found.standings[0].best > 0.99
    assert (found.votes, found.people, found.groups) == (800, 25, 1)
    assert found.wins[0, 3] > found.wins[3, 0], "the matrix has the order of the standings"
    assert found.categories == {"other": (800, pytest.approx({line.name: line.rating for line in found.standings}))}
    assert len(found.over_time) == 8
    assert found.over_time[-1][1] == pytest.approx({line.name: line.rating for line in found.standings})


def test_labels_that_do_not_count_are_counted() -> None:
    rows = [
        label_row(1),
        label_row(2, source="judge"),
        label_row(3, verdict=Verdict.SKIP),
        label_row(4, selection="check"),
        label_row(5, revealed_before=True),
        label_row(6, blind=False),
    ]
    assert votes_of(rows, "expert").excluded == {
        "another source": 1,
        "skipped": 1,
        "a check or a repeat": 1,
        "the names were known": 2,
    }
    assert votes_of(rows, "router").excluded["the same router twice"] == 1


@pytest.mark.parametrize(
    "rows",
    [[], [label_row()] * 9, [label_row(verdict=Verdict.TIE)] * 40, [label_row(verdict=Verdict.SKIP)] * 40],
    ids=["none", "nine", "only ties", "only skips"],
)
def test_too_few_labels_make_no_board(rows: list[object]) -> None:
    found = board_of(rows, "expert")  # type: ignore[arg-type]
    assert isinstance(found, TooFew)
    assert found.votes == sum(row.verdict is not Verdict.SKIP for row in rows)  # type: ignore[attr-defined]


def test_parts_that_never_met_are_told_apart() -> None:
    made = votes([(0, 1, 0), (1, 0, 0), (2, 3, 2)] * 20, prompts=np.arange(60) % 7)
    found = board_of(rows_of(made), "expert", rounds=20)
    assert isinstance(found, Board)
    assert found.groups == 2
    assert [line.is_provisional for line in found.standings] == [True, False, False, True], "20 votes and 40"


def test_style_is_counted_outside_of_code_and_turns_with_the_sides() -> None:
    text = "# Title\n\n- one\n2. two **bold**\n```\n# no header\n- no item\n```\n"
    assert style_counts(text)[1:] == (1, 2, 1)
    assert style_difference("a b c", text) == [-value for value in style_difference(text, "a b c")]


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [("def f(x): ...", "code"), ("What is 3 * 4?", "numbers"), ("word " * 90, "long"), ("Who was Ada?", "other")],
)
def test_prompts_without_a_category_get_a_rough_one(prompt: str, kind: str) -> None:
    assert category_of(prompt) == kind
