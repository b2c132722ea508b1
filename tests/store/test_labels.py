import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from playground.core.preferences import Verdict
from playground.errors import InvalidRequest, NotPermitted
from playground.store.database import Database
from playground.store.label_views import count_labels, count_usable, current_labels, labelled_pairs
from playground.store.labels import add_rationale, create_comparison, undo, vote
from playground.store.people import known_labeller, labeller
from playground.store.tables import LabelActRow
from playground.store.tables.columns import now

ROOT = Path(__file__).resolve().parents[2]
Save = Callable[..., str]


@pytest.fixture
def me(database: Database) -> str:
    with database.write() as session:
        return labeller(session, "cookie")


@pytest.fixture
def compare(database: Database, save: Save) -> Callable[..., str]:
    """Return a new comparison of two experts' answers. `left` names the expert that is shown left."""

    def make(first: str = "math", second: str = "base", *, left: str = "math", prompt: str = "What is 2 + 2?") -> str:
        runs = {name: save(prompt, expert=name, text=f"{name} answers") for name in (first, second)}
        with database.write() as session:
            return create_comparison(
                session, runs[first], runs[second], selection="uniform", pair_propensity=0.1, left_run=runs[left]
            )

    return make


@pytest.fixture
def cast(database: Database, me: str) -> Callable[..., str]:
    def one(comparison: str, verdict: Verdict, token: str, *, by: str = me, lead_ms: int = 9000) -> str:
        with database.write() as session:
            return vote(session, comparison, verdict, labeller_id=by, client_token=token, lead_ms=lead_ms)

    return one


@pytest.mark.parametrize("left", ["math", "base"])
@pytest.mark.parametrize("order", [("math", "base"), ("base", "math")])
def test_a_verdict_is_about_what_was_shown(database, compare, cast, left: str, order: tuple[str, str]) -> None:
    comparison = compare(*order, left=left)
    cast(comparison, Verdict.A_MUCH, "t1")
    with database.read() as session:
        (row,) = current_labels(session)
        (pair,) = labelled_pairs(session)
    assert row.shown_sides[0].expert == left
    assert row.shown_verdict is Verdict.A_MUCH
    towards = (pair.usage_a - pair.usage_b) * np.sign(pair.target - 0.5)
    assert pair.experts[int(towards.argmax())] == left
    assert max(pair.target, 1 - pair.target) == pytest.approx(0.975)


def test_a_repeated_click_is_one_vote(database, compare, cast) -> None:
    comparison = compare()
    assert cast(comparison, Verdict.A, "t1") == cast(comparison, Verdict.B, "t1")
    with database.read() as session:
        assert [row.verdict for row in current_labels(session)] == [Verdict.A]
    with pytest.raises(InvalidRequest, match="another vote"):
        cast(compare(), Verdict.A, "t1")


def test_two_people_may_use_one_token(database, compare, cast) -> None:
    """A token such as "1" is no secret, and says nothing about another person's vote."""
    comparison = compare()
    with database.write() as session:
        other = labeller(session, "another cookie")
    mine, theirs = cast(comparison, Verdict.A, "1"), cast(comparison, Verdict.B, "1", by=other)
    assert mine != theirs
    assert cast(comparison, Verdict.B, "1") == mine
    assert cast(comparison, Verdict.A, "1", by=other) == theirs
    assert cast(compare(prompt="another"), Verdict.A, "1", by=other_of(database)) != theirs


def other_of(database: Database) -> str:
    with database.write() as session:
        return labeller(session, "a third cookie")


def test_a_changed_mind_replaces_and_undo_returns(database, compare, cast, me: str) -> None:
    comparison = compare()
    first, second = cast(comparison, Verdict.A, "t1"), cast(comparison, Verdict.B_MUCH, "t2")

    def verdicts() -> list[tuple[str, Verdict, bool]]:
        with database.read() as session:
            return [(row.label_id, row.verdict, row.revealed_before) for row in current_labels(session)]

    assert verdicts() == [(second, Verdict.B_MUCH, True)]
    with database.write() as session:
        once = undo(session, second, labeller_id=me, client_token="u1")
        assert undo(session, second, labeller_id=me, client_token="u1") == once
    assert verdicts() == [(first, Verdict.A, False)]
    with database.write() as session, pytest.raises(InvalidRequest, match="already"):
        undo(session, second, labeller_id=me, client_token="u2")
    with database.write() as session:
        undo(session, first, labeller_id=me, client_token="u3")
    assert verdicts() == []
    third = cast(comparison, Verdict.TIE, "t3")
    assert verdicts() == [(third, Verdict.TIE, True)]
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM label").scalar() == 5, (
            "nothing was overwritten"
        )
        assert count_labels(session) == {"all": 1, "tie": 1}


def test_nobody_undoes_somebody_elses_vote(database, compare, cast) -> None:
    label = cast(compare(), Verdict.A, "t1")
    with database.write() as session:
        stranger = labeller(session, "another cookie")
    with database.write() as session, pytest.raises(NotPermitted):
        undo(session, label, labeller_id=stranger, client_token="u1")


def test_two_people_vote_on_one_comparison(database, compare, cast) -> None:
    comparison = compare()
    with database.write() as session:
        other = labeller(session, "another cookie")
    cast(comparison, Verdict.A, "t1")
    cast(comparison, Verdict.B, "t2", by=other)
    with database.read() as session:
        assert len(current_labels(session)) == 2
        assert [pair.weight for pair in labelled_pairs(session)] == pytest.approx([2**-0.5] * 2)
        assert [row.verdict for row in current_labels(session, labeller_id=other)] == [Verdict.B]


def test_the_database_itself_refuses_to_change_a_label(database, compare, cast) -> None:
    label = cast(compare(), Verdict.A, "t1")
    for statement in (
        "UPDATE label SET choice = 'b'",
        "DELETE FROM label",
        f"INSERT OR REPLACE INTO label SELECT * FROM label WHERE id = '{label}'",
        "UPDATE comparison SET left_run = run_b",
        "DELETE FROM comparison",
        "UPDATE run SET text = 'better'",
        "DELETE FROM run",
        "UPDATE decision SET propensity = 0.5",
    ):
        with pytest.raises(sa.exc.IntegrityError, match="never"), database.write() as session:
            session.connection().exec_driver_sql(statement)
    with database.read() as session:
        assert [row.verdict for row in current_labels(session)] == [Verdict.A]


def test_comparisons_that_mean_nothing_are_refused(database, save) -> None:
    one, other = save("one"), save("two")
    asked = {"selection": "uniform", "pair_propensity": None}
    for runs, left, message in (
        ((one, one), one, "two different runs"),
        ((one, other), other, "different prompts"),
        ((one, "gone"), one, "not stored"),
        ((one, other), "gone", "on the left"),
    ):
        with pytest.raises(InvalidRequest, match=message), database.write() as session:
            create_comparison(session, *runs, left_run=left, **asked)
    first, second = sorted((one, other))
    with pytest.raises(sa.exc.IntegrityError, match="share its prompt"), database.write() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO comparison (id, prompt_id, run_a, run_b, left_run, selection, blind, created_at) "
            f"SELECT 'c', prompt_id, '{first}', '{second}', '{first}', 'manual', 1, 'now' FROM run WHERE id = '{first}'"
        )


def test_skips_and_both_bad(database, compare, cast) -> None:
    cast(compare(prompt="a"), Verdict.SKIP, "t1")
    cast(compare(prompt="b"), Verdict.BOTH_BAD, "t2")
    with database.read() as session:
        (pair,) = labelled_pairs(session)
        assert count_labels(session) == {"all": 2, "skip": 1, "bad": 1}
    assert (pair.prompt, pair.target) == ("b", 0.5)


def test_hasty_votes_weigh_half(database, compare, cast) -> None:
    cast(compare(prompt="a"), Verdict.A, "t1", lead_ms=300)
    cast(compare(prompt="b"), Verdict.A, "t2", lead_ms=0)
    with database.read() as session:
        assert [pair.weight for pair in labelled_pairs(session)] == [0.5, 1.0]


def test_usages_of_different_pools_meet_over_both(database, save, cast) -> None:
    one = save(expert="math", pool=("base", "math"))
    two = save(expert="units", pool=("units", "math"))
    with database.write() as session:
        comparison = create_comparison(session, one, two, selection="manual", pair_propensity=None, left_run=one)
    cast(comparison, Verdict.A, "t1")
    with database.read() as session:
        (pair,) = labelled_pairs(session)
    assert set(pair.experts) == {"base", "math", "units"}
    by_name = dict(zip(pair.experts, pair.usage_a - pair.usage_b, strict=True))
    assert {name: abs(value) for name, value in by_name.items()} == {"base": 0.0, "math": 1.0, "units": 1.0}


def test_a_rationale_has_limits(database, compare, cast) -> None:
    label = cast(compare(), Verdict.A, "t1")
    with database.write() as session, pytest.raises(InvalidRequest, match="too long"):
        add_rationale(session, label, "x" * 4001, [])
    with database.write() as session, pytest.raises(InvalidRequest, match="no such vote"):
        add_rationale(session, "gone", "why", [])


def test_a_labeller_is_one_person_and_no_name_is_stored(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        one, again, other = (labeller(session, key) for key in ("ann@example.org", "ann@example.org", "bob"))
        assert one == again != other
    assert b"ann@example.org" not in b"".join(path.read_bytes() for path in tmp_path.glob("playground.sqlite3*"))
    reopened = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}")
    with reopened.write() as session:
        assert labeller(session, "ann@example.org") == one
    reopened.close()


def test_looking_for_a_labeller_writes_nothing(database: Database, tmp_path: Path) -> None:
    with database.read() as session:
        assert known_labeller(session, "cookie") is None
        assert session.connection().exec_driver_sql("SELECT count(*) FROM labeller").scalar() == 0
    assert not list(tmp_path.glob("*.key"))
    with database.write() as session:
        me = labeller(session, "cookie")
    with database.read() as session:
        assert known_labeller(session, "cookie") == me
        assert known_labeller(session, "another") is None


def test_a_setting_replaces_the_key_and_no_file_is_made(tmp_path: Path) -> None:
    found = []
    for name, key in (("one", "a secret"), ("two", "a secret"), ("three", "another")):
        made = Database(f"sqlite:///{tmp_path / name / 'x.sqlite3'}", labeller_key=key)
        made.upgrade()
        with made.write() as session:
            labeller(session, "cookie")
            found.append(session.connection().exec_driver_sql("SELECT auth_subject_hash FROM labeller").scalar())
        made.close()
    assert found[0] == found[1] != found[2]
    assert not list(tmp_path.rglob("*.key"))


def test_a_vote_survives_kill_minus_9(database, compare, tmp_path: Path, me: str) -> None:
    comparison = compare()
    code = """
import os, signal, sys
from playground.core.preferences import Verdict
from playground.store.database import Database
from playground.store.labels import vote
with Database(sys.argv[1]).write() as session:
    label = vote(session, sys.argv[2], Verdict.B, labeller_id=sys.argv[3], client_token="t1")
    os.write(1, label.encode())
    os.kill(os.getpid(), signal.SIGKILL)
"""
    address = f"sqlite:///{tmp_path / 'playground.sqlite3'}"
    done = subprocess.run(
        [sys.executable, "-c", code, address, comparison, me], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    reopened = Database(address)
    with reopened.read() as session:
        assert [(row.label_id, row.shown_verdict) for row in current_labels(session)] == [(done.stdout, Verdict.B)]
    assert all(check.ok for check in reopened.check())
    reopened.close()


def usable(database) -> tuple[int, int, int, int]:
    """Count what `count_usable` counts, from the labels themselves."""
    with database.read() as session:
        rows = current_labels(session, source="human")
    says = [row for row in rows if row.verdict.target is not None]
    people = {row.labeller_id for row in says}
    return len(says), len({row.prompt for row in says}), len(people), len(rows) - len(says)


def test_what_can_be_learned_from_is_counted_in_the_database(database, compare, cast, me: str) -> None:
    with database.write() as session:
        other = labeller(session, "another cookie")
    first, again, second = compare(), compare(), compare(prompt="Another?")
    label = cast(first, Verdict.A_MUCH, "t1")
    cast(again, Verdict.TIE, "t2", by=other)
    cast(second, Verdict.SKIP, "t3")
    cast(second, Verdict.B_MUCH, "t4", by=other)
    cast(first, Verdict.A_SLIGHTLY, "t5", by=other)
    cast(first, Verdict.BOTH_BAD, "t6", by=other)  # replaces the one before
    with database.write() as session:
        undo(session, label, labeller_id=me, client_token="u1")
    with database.read() as session:
        assert count_usable(session) == usable(database) == (3, 2, 1, 1)


def test_counting_fifty_thousand_labels_is_quick(database, compare, me: str) -> None:
    comparisons = [compare(prompt=f"Question {number}?") for number in range(5)]
    shared = {"action": "vote", "choice": "a", "strength": 2, "source": "human", "source_detail": {}}
    rows = [
        {
            "id": f"{number:026d}",
            "comparison_id": comparisons[number % 5],
            "labeller_id": me,
            "client_token": f"t{number}",
            "revealed_before": False,
            "lead_ms": 0,
            "guideline_version": "",
            "created_at": now(),
            **shared,
        }
        for number in range(50_000)
    ]
    with database.write() as session:
        session.connection().execute(sa.insert(LabelActRow), rows)
    with database.read() as session:
        began = time.monotonic()
        assert count_usable(session) == (50_000, 5, 1, 0)
        assert time.monotonic() - began < 1.0  # 0.1 s on two quiet cores; reading the labels took 5 s
