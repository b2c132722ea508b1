"""A copy of the database in one file: whole without the folder beside it, and never over another file."""

import sqlite3
from pathlib import Path

import pytest

from playground.core.preferences import Verdict
from playground.errors import StorageError
from playground.store.backup import back_up
from playground.store.database import Database
from playground.store.label_views import current_labels
from playground.store.labels import create_comparison, vote
from playground.store.people import KEY_FILE, known_labeller, labeller
from playground.store.runs import load_events
from tests.store.conftest import SaveRun


@pytest.fixture
def voted(database: Database, save: SaveRun) -> str:
    """Return the comparison of a stored vote. One of its runs has its trace in a file."""
    first, second = save(expert="math", tokens=400), save(expert="base")
    with database.write() as session:
        made = create_comparison(session, first, second, selection="manual", pair_propensity=None, left_run=first)
        vote(session, made, Verdict.A, labeller_id=labeller(session, "cookie"), client_token="t")
    assert database.folder is not None
    assert list(database.folder.glob("traces/*")), "a large trace lies in a file"
    return made


def test_a_copy_alone_holds_labels_traces_and_who_voted(database: Database, voted: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "copy.sqlite3"
    target.parent.mkdir()
    assert back_up(database, target) == 0
    assert [path.name for path in target.parent.iterdir()] == ["copy.sqlite3"]
    assert database.folder is not None
    (database.folder / KEY_FILE).unlink()
    restored = Database(f"sqlite:///{target}")
    restored.upgrade()
    with restored.read() as session:
        [label] = current_labels(session)
        assert (label.comparison_id, label.shown_verdict) == (voted, Verdict.A)
        assert label.labeller_id == known_labeller(session, "cookie")
        assert {len(load_events(session, side.run_id)) for side in (label.a, label.b)} == {403, 6}
    with restored.write() as session:
        assert labeller(session, "cookie") == label.labeller_id
    assert all(check.ok for check in restored.check())
    restored.close()


def test_a_database_of_the_release_before_is_copied_too(database: Database, voted: str, tmp_path: Path) -> None:
    database.downgrade("0002")
    assert back_up(database, tmp_path / "copy.sqlite3") == 0
    restored = Database(f"sqlite:///{tmp_path / 'copy.sqlite3'}", data_dir=tmp_path / "elsewhere")
    with restored.read() as session:
        assert [row.labeller_id for row in current_labels(session)] == [known_labeller(session, "cookie")]
    restored.close()


def test_a_copy_is_made_while_others_write(database: Database, voted: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "playground.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO secret VALUES ('other', x'00', 'now')")
    assert back_up(database, tmp_path / "copy.sqlite3") == 0
    other.execute("ROLLBACK")
    other.close()


def test_a_lost_trace_is_counted_and_the_rest_is_kept(database: Database, voted: str, tmp_path: Path) -> None:
    assert database.folder is not None
    for path in database.folder.glob("traces/*"):
        path.unlink()
    assert back_up(database, tmp_path / "copy.sqlite3") == 1


def test_no_file_is_overwritten_and_none_is_left_half(database: Database, voted: str, tmp_path: Path) -> None:
    there = tmp_path / "there.sqlite3"
    there.write_text("precious")
    with pytest.raises(StorageError, match="already"):
        back_up(database, there)
    assert there.read_text() == "precious"
    with pytest.raises(StorageError, match="no folder"):
        back_up(database, tmp_path / "no such folder" / "copy.sqlite3")
    assert not list(tmp_path.rglob("*.part"))
