"""Votes of clients and of the page: stored as said, one person one labeller, and looking writes nothing."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playground.actions import compare, export, vote
from playground.actions.compare import OpenComparison, OpenComparisons
from playground.core.preferences import Verdict
from playground.errors import InvalidRequest, NotPermitted
from playground.settings import Settings
from playground.store.label_views import current_labels
from tests.scripted import ScriptedRuntime

HANDLE = "a-visitor-of-tests"
ELSEWHERE = "192.0.2.7"
Compared = Callable[..., str]
Labels = Callable[[], list[Any]]


@pytest.fixture
def compared(runtime: Any) -> Compared:
    """Make a comparison as a client does, and return its id."""

    def make(prompt: str = "Which?") -> str:
        made: str = compare.compare(runtime, prompt, "expert:math", "expert:base", tokens=8)["comparison_id"]
        return made

    return make


@pytest.fixture
def labels(runtime: Any) -> Labels:
    def read() -> list[Any]:
        with runtime.database.read() as session:
            return current_labels(session)

    return read


def cast(runtime: Any, comparison: str, verdict: str, who: str = "", token: str = "", address: str = "") -> Any:
    return vote.client_vote(runtime, comparison, verdict, handle=who, client_token=token, address=address)


def rows_in(runtime: Any) -> dict[str, int]:
    with runtime.database.read() as session:
        run = session.connection().exec_driver_sql
        return {
            name: run(f"SELECT count(*) FROM {name}").scalar() for name in ("labeller", "label", "comparison", "run")
        }


# --- what a client is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["tie", "a", "skip", "7"])
def test_a_retry_with_another_verdict_says_what_is_stored(
    runtime: Any, compared: Compared, labels: Labels, other: str
) -> None:
    made = compared()
    first = cast(runtime, made, "b", HANDLE, "t")
    again = cast(runtime, made, other, HANDLE, "t")
    assert (again["label_id"], again["verdict"], again["saved"]) == (first["label_id"], Verdict.B.text, True)
    assert (first["note"], first["in_force"], again["in_force"]) == ("", True, True)
    assert Verdict.B.text in again["note"]
    assert [row.shown_verdict for row in labels()] == [Verdict.B]


def test_a_retry_with_the_same_verdict_has_nothing_to_note(runtime: Any, compared: Compared) -> None:
    made = compared()
    assert cast(runtime, made, "b", HANDLE, "t") == cast(runtime, made, "b", HANDLE, "t")


def test_a_retry_of_a_vote_that_was_taken_back_says_so(runtime: Any, compared: Compared, labels: Labels) -> None:
    made = compared()
    label = cast(runtime, made, "a", HANDLE, "t")["label_id"]
    vote.undo_label(runtime, label, HANDLE)
    again = cast(runtime, made, "a", HANDLE, "t")
    assert not again["in_force"]
    assert "taken back" in again["note"]
    assert again["a"]["expert"]
    assert labels() == []


@pytest.mark.parametrize("verdicts", [("a", "a"), ("a", "tie")])
def test_a_retry_by_token_alone_counts_once(
    runtime: Any, compared: Compared, labels: Labels, verdicts: tuple[str, str]
) -> None:
    made = compared()
    first, again = (cast(runtime, made, verdict, token="t", address=ELSEWHERE) for verdict in verdicts)
    assert again["label_id"] == first["label_id"]
    assert again["labeller"] == first["labeller"]
    assert {again["a"]["expert"], again["b"]["expert"]} == {"math", "base"}
    assert len(labels()) == 1
    vote.undo_label(runtime, first["label_id"], first["labeller"])
    assert labels() == []


@pytest.mark.parametrize("name", ["alice", "a b c d e f", "alice12345\x00", "алиса12345", "x" * 65, "<b>alice</b>"])
def test_a_name_that_cannot_be_kept_is_refused(runtime: Any, compared: Compared, labels: Labels, name: str) -> None:
    made, before = compared(), rows_in(runtime)
    with pytest.raises(InvalidRequest, match="8 to 64"):
        cast(runtime, made, "a", name)
    with pytest.raises(InvalidRequest, match="8 to 64"):
        vote.client_labels(runtime, 10, handle=name, password="")
    assert labels() == []
    assert rows_in(runtime) == before


def test_a_name_with_a_line_break_behind_it_is_that_name(runtime: Any, compared: Compared, labels: Labels) -> None:
    made = compared()
    cast(runtime, made, "a", "alice12345")
    cast(runtime, made, "b", "alice12345\n")
    assert [row.shown_verdict for row in labels()] == [Verdict.B]


@pytest.mark.parametrize("odd", ["none", "", None, 7, ["x"], "\ud83d", "a\x00b", "x" * 100_000])
def test_ids_that_cannot_be_are_refused(runtime: Any, odd: Any) -> None:
    with pytest.raises(InvalidRequest, match="no such comparison"):
        cast(runtime, odd, "a", token="t")
    with pytest.raises(InvalidRequest, match="no such vote"):
        vote.undo_label(runtime, odd, HANDLE)


@pytest.mark.parametrize("limit", [None, "many", float("nan"), float("inf"), [1]])
def test_a_limit_that_is_no_number_is_refused(runtime: Any, limit: object) -> None:
    with pytest.raises(InvalidRequest, match="not a number"):
        vote.client_labels(runtime, limit, handle="", password="")


# --- one person, one labeller ---------------------------------------------------------------------------------------


def test_a_hundred_unnamed_votes_of_one_client_are_one_labellers(
    runtime: Any, compared: Compared, labels: Labels
) -> None:
    made = [compared(f"Question {number}?") for number in range(10)]
    for number in range(100):
        cast(runtime, made[number % 10], "a", token=f"t{number}", address=ELSEWHERE)
    assert rows_in(runtime)["labeller"] == 1
    assert len(labels()) == 10
    cast(runtime, made[0], "b", address="192.0.2.8")
    cast(runtime, made[0], "b", "a-named-client")
    assert rows_in(runtime)["labeller"] == 3
    assert len(labels()) == 12


def test_the_handle_of_an_unnamed_client_cannot_be_guessed_from_its_address(runtime: Any, compared: Compared) -> None:
    given = cast(runtime, compared(), "a", address=ELSEWHERE)["labeller"]
    assert ELSEWHERE not in given
    with pytest.raises(NotPermitted):
        vote.undo_label(runtime, cast(runtime, compared(), "a", address="192.0.2.8")["label_id"], given)


def test_one_token_of_two_people_is_two_votes(runtime: Any, compared: Compared, labels: Labels) -> None:
    made = compared()
    cast(runtime, made, "a", "first-person", "1")
    cast(runtime, made, "b", "second-person", "1")
    assert len(labels()) == 2


def test_two_replicas_with_folders_of_their_own_know_one_labeller(postgres: str, tmp_path: Path) -> None:
    one, two = (
        ScriptedRuntime(Settings(data_dir=tmp_path / name, cache_dir=tmp_path, database_url=postgres)) for name in "ab"
    )
    for replica in (one, two):
        replica.start()
    made = compare.compare(one, "Which?", "expert:math", "expert:base", tokens=8)["comparison_id"]  # type: ignore[arg-type]
    for who in ("a-named-person", ""):
        first = cast(one, made, "a", who, "t", ELSEWHERE)
        again = cast(two, made, "b", who, "t", ELSEWHERE)
        assert (again["label_id"], again["labeller"]) == (first["label_id"], first["labeller"])
    assert len(vote.own_labels(two, "a-named-person")) == 1  # type: ignore[arg-type]
    vote.undo_label(two, first["label_id"], first["labeller"])  # type: ignore[arg-type]
    assert rows_in(one) == rows_in(two) == {"labeller": 2, "label": 3, "comparison": 1, "run": 2}
    for replica in (one, two):
        replica.close()


# --- blind or not ---------------------------------------------------------------------------------------------------


def test_a_vote_after_the_names_could_be_read_is_no_blind_one(runtime: Any, compared: Compared, labels: Labels) -> None:
    made = compared()
    cast(runtime, made, "a", "first-person")
    assert export.labels_json(vote.client_labels(runtime, 10, handle="", password=""))["labels"][0]["expert_a"]
    cast(runtime, made, "b", "second-person")
    assert [row.revealed_before for row in labels()] == [True, False]


def test_a_vote_after_one_that_was_taken_back_is_no_blind_one(runtime: Any, compared: Compared, labels: Labels) -> None:
    made = compared()
    vote.undo_label(runtime, cast(runtime, made, "a", "first-person")["label_id"], "first-person")
    cast(runtime, made, "b", "second-person")
    assert [row.revealed_before for row in labels()] == [True]


def test_a_second_vote_stays_blind_where_nobody_can_read_the_first(
    runtime: Any, compared: Compared, labels: Labels
) -> None:
    runtime.settings.public_labels = False
    made = compared()
    cast(runtime, made, "a", "first-person")
    cast(runtime, made, "b", "second-person")
    assert [row.revealed_before for row in labels()] == [False, False]


def test_a_page_cannot_vote_blind_on_what_a_client_has_voted_on(runtime: Any, labels: Labels) -> None:
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=8)
    list(compare.decoded(runtime, opened, "s"))
    cast(runtime, opened.comparison_id, "a", "first-person")
    vote.judge(runtime, opened, Verdict.B, HANDLE)
    assert [row.revealed_before for row in labels()] == [True, False]


# --- who may read labels --------------------------------------------------------------------------------------------


def test_labels_are_closed_on_a_space_unless_the_host_opens_them(
    runtime: Any, compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast(runtime, compared(), "a", "first-person")
    [label] = vote.client_labels(runtime, 10, handle="", password="")
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    with pytest.raises(NotPermitted, match="closed") as caught:
        vote.client_labels(runtime, 10, handle="", password="")
    assert "PLAYGROUND_PUBLIC_LABELS" in caught.value.remedy
    assert vote.newest_labels(runtime, "second-person") == []
    assert vote.client_labels(runtime, 10, handle="second-person", password="") == []
    with pytest.raises(NotPermitted):
        vote.reopen(runtime, label.label_id, "second-person")
    for mine in (
        vote.newest_labels(runtime, "first-person"),
        vote.client_labels(runtime, 10, handle="first-person", password=""),
        [vote.reopen(runtime, label.label_id, "first-person")[1]],
    ):
        assert [row.label_id for row in mine] == [label.label_id]
    runtime.settings.public_labels = True
    assert len(vote.client_labels(runtime, 10, handle="", password="")) == 1
    assert len(vote.newest_labels(runtime, "second-person")) == 1


def test_the_admin_password_opens_closed_labels_and_no_password_does_not(runtime: Any, compared: Compared) -> None:
    cast(runtime, compared(), "a", "first-person")
    runtime.settings.public_labels = False
    for password in ("", "secret"):  # none is set: nobody is known to be the host
        with pytest.raises(NotPermitted):
            vote.client_labels(runtime, 10, handle="", password=password)
    runtime.settings.admin_password = "secret"
    with pytest.raises(NotPermitted):
        vote.client_labels(runtime, 10, handle="", password="Secret")
    assert len(vote.client_labels(runtime, 10, handle="", password="secret")) == 1


# --- looking writes nothing -----------------------------------------------------------------------------------------


def test_looking_at_labels_writes_no_row_and_needs_no_writable_disk(
    runtime: Any, compared: Compared, tmp_path: Any
) -> None:
    cast(runtime, compared(), "a", "first-person")
    [label] = vote.newest_labels(runtime, "first-person")
    before = rows_in(runtime)
    other = sqlite3.connect(tmp_path / "playground.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # a writer that does not end: a full or read-only disk refuses writes likewise
    runtime.database.busy_ms = 50
    for who in ("first-person", "somebody-new"):
        assert vote.labeller_of(runtime, who) == (label.labeller_id if who == "first-person" else "")
        assert len(vote.newest_labels(runtime, who)) == 1
        assert len(vote.own_labels(runtime, who)) == (who == "first-person")
        vote.reopen(runtime, label.label_id, who)
        vote.from_store(runtime, label.comparison_id, who)
    other.execute("ROLLBACK")
    other.close()
    assert rows_in(runtime) == before


# --- comparisons that stay open -------------------------------------------------------------------------------------


def ended(runtime: Any) -> OpenComparison:
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=8)
    list(compare.decoded(runtime, opened, "s"))
    return opened


def test_many_reopened_labels_leave_a_running_comparison_open(
    runtime: Any, compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.actions.compare.KEPT", 10)
    label = cast(runtime, compared(), "a", "first-person")["label_id"]
    kept = OpenComparisons()
    running = kept.add(compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=8))
    for _ in range(30):
        reopened, _, _ = vote.reopen(runtime, label, "the-attacker")
        kept.add(reopened)
    assert kept.get(running.token) is running
    assert len(kept._open) == 10


def test_a_comparison_read_again_is_as_blind_as_it_was_and_shows_the_same(runtime: Any, labels: Labels) -> None:
    opened = ended(runtime)
    again = vote.from_store(runtime, opened.comparison_id, HANDLE)
    assert [state.run_id for state in again.states] == [state.run_id for state in opened.states]
    assert [state.answer for state in again.states] == [state.answer for state in opened.states]
    assert (again.is_revealed, again.label_id, again.is_readable) == (False, "", True)
    vote.judge(runtime, again, Verdict.A, HANDLE)
    [row] = labels()
    assert (row.shown_verdict, row.revealed_before, row.lead_ms) == (Verdict.A, False, 0)
    assert row.shown_sides[0].run_id == opened.states[0].run_id


def test_two_presses_on_two_readings_of_one_comparison_are_one_vote(runtime: Any, labels: Labels) -> None:
    comparison = ended(runtime).comparison_id
    first, second = (vote.from_store(runtime, comparison, HANDLE) for _ in "ab")
    assert vote.judge(runtime, first, Verdict.A, HANDLE) == vote.judge(runtime, second, Verdict.B, HANDLE)
    third = vote.from_store(runtime, comparison, HANDLE)
    assert (third.is_revealed, third.label_id) == (True, labels()[0].label_id)
    vote.take_back(runtime, third, HANDLE)
    assert labels() == []
    fourth = vote.from_store(runtime, comparison, HANDLE)
    vote.judge(runtime, fourth, Verdict.B, HANDLE)
    assert [(row.shown_verdict, row.revealed_before) for row in labels()] == [(Verdict.B, True)]


@pytest.mark.parametrize("wanted", ["", "none", "x" * 26, "'; DROP TABLE run"])
def test_an_unknown_comparison_cannot_be_read_again(runtime: Any, wanted: str) -> None:
    with pytest.raises(InvalidRequest, match="no such comparison"):
        vote.from_store(runtime, wanted, HANDLE)


def test_a_pair_that_the_page_left_before_a_vote_is_not_stored(runtime: Any) -> None:
    """A double click on Compare left a pair behind that nobody could judge."""
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=30)
    for _, _ in compare.decoded(runtime, opened, "s"):
        opened.left.set()
    assert opened.done.is_set()
    assert rows_in(runtime)["comparison"] == 0
    with pytest.raises(InvalidRequest, match="no such comparison"):
        vote.from_store(runtime, opened.id, HANDLE)


def test_a_pair_whose_page_was_closed_is_stored_and_can_be_opened(runtime: Any) -> None:
    runtime.delay = 0.01
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=30)
    answers = compare.decoded(runtime, opened, "s")
    while not opened.is_votable:
        next(answers)
    answers.close()  # what the framework does when a browser reloads
    again = vote.from_store(runtime, opened.id, HANDLE)
    assert again.is_readable
    assert 0 < len(again.states[0].tokens) < 30


def test_answers_that_were_stopped_at_once_are_not_offered_for_a_vote(runtime: Any) -> None:
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=30)
    answers = compare.decoded(runtime, opened, "s")
    while not all(state.tokens for state in opened.states):
        next(answers)
    answers.close()
    assert not vote.from_store(runtime, opened.id, HANDLE).is_readable


def test_an_early_vote_counts_although_the_page_left_in_the_same_moment(runtime: Any, labels: Labels) -> None:
    runtime.delay = 0.01
    opened = compare.open_comparison(runtime, "Which?", "expert:math", "expert:base", tokens=30)
    thread = threading.Thread(target=lambda: list(compare.decoded(runtime, opened, "s")))
    thread.start()
    while not opened.is_votable:
        thread.join(0.01)
    opened.voted.set()
    opened.left.set()
    vote.judge(runtime, opened, Verdict.A, HANDLE)
    thread.join()
    assert len(labels()) == 1
