"""Old runs lose their details, unless somebody judged them. Nothing half-written stays."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import InvalidRequest, StorageError
from playground.store import retention, traces
from playground.store.database import Database
from playground.store.label_views import current_labels, labelled_pairs
from playground.store.labels import create_comparison, undo, vote
from playground.store.people import labeller
from playground.store.retention import prunable, prune
from playground.store.runs import load_events, load_run, recent_runs, save_run
from playground.store.tables import TraceRow
from playground.store.tables.columns import now

Save = Callable[..., str]
SOON = timedelta(seconds=1)


@pytest.fixture
def judged(database: Database, save: Save) -> Callable[..., tuple[str, str]]:
    """Return what stores two runs with a label; `is_undone` takes it back."""

    def make(*, is_undone: bool = False) -> tuple[str, str]:
        runs = save(expert="math"), save(expert="base")
        with database.write() as session:
            shown = {"selection": "uniform", "pair_propensity": 0.1, "left_run": runs[0]}
            comparison = create_comparison(session, *runs, **shown)
        with database.write() as session:
            me = labeller(session, "cookie")
            label = vote(session, comparison, Verdict.A, labeller_id=me, client_token=comparison)
            if is_undone:
                undo(session, label, labeller_id=me, client_token=f"{comparison}:u")
        return runs

    return make


def test_a_run_with_a_label_keeps_everything(
    database: Database, save: Save, judged: Callable[..., tuple[str, str]]
) -> None:
    kept = [*judged(), *judged(is_undone=True)]
    lost = save("Nobody judged this.")
    pair = save("Which?", expert="math"), save("Which?", expert="base")
    with database.write() as session:  # shown to somebody, who left
        create_comparison(session, *pair, selection="uniform", pair_propensity=0.1, left_run=pair[0])
    with database.read() as session:
        before = {run: load_events(session, run) for run in kept}
        pairs = labelled_pairs(session)
    done = prune(database, now() + SOON)
    assert done.runs == 3
    assert done.bytes > 0
    with database.read() as session:
        assert {run: [event.seq for event in load_events(session, run)] for run in kept} == {
            run: [event.seq for event in events] for run, events in before.items()
        }
        assert len(labelled_pairs(session)) == len(pairs) == 1
        assert current_labels(session)[0].a.text
        for run in (lost, *pair):
            with pytest.raises(StorageError, match="deleted to save space"):
                load_events(session, run)
            assert load_run(session, run).text == "Four."  # rows are never deleted
        assert {run.id for run in recent_runs(session)} == set(kept)
    assert prune(database, now() + SOON).runs == 0


def test_a_young_run_keeps_everything(database: Database, save: Save) -> None:
    run = save()
    assert prune(database, now() - timedelta(days=1)).runs == 0
    with database.read() as session:
        assert load_events(session, run)


def test_many_runs_are_pruned_in_short_transactions(
    database: Database, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(5):
        save(f"Question {number}?")
    with database.read() as session:
        assert len(prunable(session, now() + SOON, 3)) == 3
    assert prune(database, now() + SOON).runs == 5


def test_the_file_of_a_large_trace_is_deleted(
    database: Database, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "INLINE_LIMIT", 0)
    run = save()
    file = tmp_path / "traces" / f"{run}.json.gz"
    assert file.is_file()
    prune(database, now() + SOON)
    assert not file.exists()
    with database.read() as session:
        row = session.get_one(TraceRow, run)
        assert (row.inline, row.path) == (None, None)


def test_a_full_disk_leaves_no_half_of_a_trace(
    database: Database, make_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "INLINE_LIMIT", 0)

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"), database.write() as session:
        save_run(session, make_run(), prompt="?", sampling=Sampling(), base_model="tiny")
    assert list((tmp_path / "traces").iterdir()) == []


def test_what_a_killed_program_left_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for name in ("old.part", "young.part", "old.json.gz"):
        (folder / name).write_bytes(b"x")
    long_ago = time.time() - 2 * retention.ABANDONED_SECONDS
    for name in ("old.part", "old.json.gz"):
        os.utime(folder / name, (long_ago, long_ago))
    assert retention.delete_abandoned(tmp_path) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["old.json.gz", "young.part"]
    assert retention.delete_abandoned(None) == 0


def test_without_an_age_runs_are_kept_for_ever(database: Database) -> None:
    from playground.actions.database import prune_runs  # noqa: PLC0415  the rest of this file needs no action

    with pytest.raises(InvalidRequest, match="PLAYGROUND_KEEP_RUNS_DAYS"):
        prune_runs(database, 0)
