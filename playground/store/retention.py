"""Delete the details of old runs that nobody judged. A run with a label keeps everything, for ever.

The details are the trace: every token with its weights, nearly all of what a run takes. The row of a run stays, because
rows are append-only: it is hidden from the lists.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlmodel import Session, col, select

from playground.store.database import Database
from playground.store.tables import ComparisonRow, LabelActRow, RunRow, TraceRow
from playground.store.tables.columns import now

log = logging.getLogger(__name__)
AT_ONCE = 50  # runs in one transaction, so that no vote waits long
ABANDONED_SECONDS = 3600.0  # a file that is still being written is younger


@dataclass(frozen=True)
class Pruned:
    """Hold how many runs lost their details, and how many bytes these had."""

    runs: int
    bytes: int


def prunable(session: Session, before: datetime, limit: int | None = None) -> list[tuple[str, int]]:
    """Return (run, bytes of its trace) of runs from before `before` that no label is about, the oldest first."""
    judged = (
        select(LabelActRow.id)
        .join(ComparisonRow, col(ComparisonRow.id) == col(LabelActRow.comparison_id))
        .where(sa.or_(col(ComparisonRow.run_a) == col(RunRow.id), col(ComparisonRow.run_b) == col(RunRow.id)))
    )
    query = (
        select(RunRow.id, TraceRow.bytes)
        .join(TraceRow, col(TraceRow.run_id) == col(RunRow.id))
        .where(col(RunRow.created_at) < before, col(TraceRow.pruned_at).is_(None), ~judged.exists())
        .order_by(col(RunRow.created_at), col(RunRow.id))
        .limit(limit)
    )
    return [(run, size) for run, size in session.exec(query)]


def prune(database: Database, before: datetime) -> Pruned:
    """Delete the details of every run from before `before` that no label is about. Raise StorageError.

    A file is deleted after its row says so. What a stopped program leaves behind is found the next time.
    """
    runs = size = 0
    while True:
        with database.write() as session:
            found = prunable(session, before, AT_ONCE)
            files = [_prune(session, run) for run, _ in found]
        for name in filter(None, files):
            delete_file(database.folder, name)
        runs, size = runs + len(found), size + sum(each for _, each in found)
        if len(found) < AT_ONCE:
            break
    return Pruned(runs, size)


def _prune(session: Session, run_id: str) -> str | None:
    """Empty the trace of a run, hide the run, and return the name of its file, if it had one."""
    trace, run = session.get_one(TraceRow, run_id), session.get_one(RunRow, run_id)
    name = trace.path
    trace.inline, trace.path, trace.pruned_at = None, None, now()
    run.deleted_at = run.deleted_at or now()
    session.add_all([trace, run])
    return name


def delete_file(folder: Path | None, name: str) -> None:
    """Delete the file of a trace, whose row no longer names it. A refusal of the disk is logged."""
    if folder is None:
        return
    try:
        (folder / name).unlink(missing_ok=True)
    except OSError as error:
        log.warning("trace not deleted file=%s reason=%s", name, error.strerror)


def delete_abandoned(folder: Path | None) -> int:
    """Delete half-written traces that a full disk or a killed program left. Return how many there were."""
    old = time.time() - ABANDONED_SECONDS
    parts = [part for part in _parts(folder) if part.stat().st_mtime < old]
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)


def _parts(folder: Path | None) -> Iterator[Path]:
    return iter(()) if folder is None else (folder / "traces").glob("*.part")
