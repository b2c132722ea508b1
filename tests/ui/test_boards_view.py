"""The pictures and tables of a board: escaped, the same numbers in both, and words where there is no board."""

import re

import plotly.graph_objects as go
import pytest

from playground.learn.understanding.agreement import agreement_of
from playground.learn.understanding.board import Board, board_of
from playground.ui.views.boards import agreement_words, board_html, empty_html, rating_figure, time_figure
from tests.learn.understanding.conftest import planted, rows_of
from tests.scripted import POOL

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def board() -> Board:
    made = planted([0.8, 0.0, -0.8], 300)
    names = ("math", EVIL, "base")
    found = board_of(rows_of(type(made)(names, *list(vars(made).values())[1:])), "expert", rounds=50)
    assert isinstance(found, Board)
    return found


def test_every_text_is_escaped_and_a_title_replaces_a_name(board: Board) -> None:
    drawn = board_html(board, POOL, [EVIL], None)
    assert "<img" not in drawn
    assert "&lt;img" in drawn
    assert "Word problems" in drawn
    for figure in (rating_figure(board, POOL), time_figure(board, POOL)):
        assert "<img" not in figure.to_json()


def test_picture_and_table_have_the_same_numbers(board: Board) -> None:
    drawn = board_html(board, POOL, [], None)
    figure = rating_figure(board, POOL)
    assert isinstance(figure, go.Figure)
    shown = [f"{trace.x[0]:.0f}" for trace in figure.data]
    assert re.findall(r"<td><b>(\d+)</b></td>", drawn) == shown
    for trace, line in zip(figure.data, board.standings, strict=True):
        assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(line.low)
        assert trace.x[0] + trace.error_x.array[0] == pytest.approx(line.high)
    assert len(time_figure(board, POOL).data) == 3


def test_without_a_board_it_says_what_is_missing() -> None:
    drawn = empty_html("router", 4, 10, {"the same router twice": 3})
    assert "4 of 10 votes" in drawn
    assert "the same router twice 3" in drawn
    assert 'data-id="compare"' in drawn


def test_agreement_is_told_also_when_it_is_unknown() -> None:
    assert "unknown" in agreement_words(agreement_of([], rounds=5))
    same = rows_of(planted([1.0, -1.0], 40), comparison_id="one")
    assert "Krippendorff's alpha" in agreement_words(agreement_of(same, rounds=5))
