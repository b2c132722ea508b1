"""Open the database without a running playground, with its tables up to date, or check it."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from playground.errors import InvalidRequest, StorageError
from playground.settings import Settings
from playground.store import retention
from playground.store.backup import back_up
from playground.store.database import Database, DatabaseCheck
from playground.store.label_views import count_labels
from playground.store.retention import Pruned
from playground.store.tables.columns import now

log = logging.getLogger(__name__)
DAY_SECONDS = 86_400.0


@contextlib.contextmanager
def opened(settings: Settings, *, upgrade: bool = True) -> Iterator[Database]:
    """Yield the database of `settings`, then close it. Bring its tables up to date first, unless `upgrade` is off."""
    database = Database.of(settings)
    try:
        if upgrade:
            database.upgrade()
        yield database
    finally:
        database.close()


def upgrade(settings: Settings) -> str:
    """Create the tables or bring them up to date. Return their revision. Safe to run again."""
    with opened(settings) as database:
        return next((check.detail for check in database.check() if check.name == "revision"), "")


def checks(settings: Settings) -> list[DatabaseCheck]:
    """Return whether the database opens, is whole, and has the newest revision and its triggers."""
    with opened(settings, upgrade=False) as database:
        return database.check()


@dataclass(frozen=True)
class Backup:
    """Say what a copy of the database holds. `missing` counts runs whose traces were lost before."""

    path: Path
    bytes: int
    labels: int
    missing: int


def backup(settings: Settings, target: Path) -> Backup:
    """Write a whole copy of the database to the file `target`, also while a page runs. Raise StorageError.

    Raise InvalidRequest when there is no database yet.
    """
    source = settings.sqlite_file
    if source is not None and not source.is_file():
        raise InvalidRequest(f"There is no database {source} yet.", "Set PLAYGROUND_DATA_DIR, or vote first.")
    with opened(settings, upgrade=False) as database:
        missing = back_up(database, target)
    copy = Database(f"sqlite:///{target}")
    try:
        with copy.read() as session:
            return Backup(target, target.stat().st_size, count_labels(session)["all"], missing)
    finally:
        copy.close()


def prune(settings: Settings, *, days: int | None = None, is_trial: bool = False) -> Pruned:
    """Delete the details of runs without labels that are older than `days`, by default as the setting says.

    With `is_trial`, only count them. Raise InvalidRequest when neither says how old, StorageError.
    """
    with opened(settings) as database:
        return prune_runs(database, settings.keep_runs_days if days is None else days, is_trial=is_trial)


def prune_daily(database: Database, days: int, *, rest_s: float = DAY_SECONDS) -> None:
    """Delete abandoned files and, with `days`, the details of old runs, now and once a day. Never return."""
    while True:
        try:
            retention.delete_abandoned(database.folder)
            if days:
                done = prune_runs(database, days)
                log.info("old runs pruned runs=%s bytes=%s", done.runs, done.bytes)
        except (StorageError, OSError) as error:
            log.warning("old runs were not pruned reason=%s", error)
        time.sleep(rest_s)


def prune_runs(database: Database, days: int, *, is_trial: bool = False) -> Pruned:
    """Delete the details of runs without labels that are older than `days`. With `is_trial`, only count them.

    Raise InvalidRequest when `days` is less than 1, StorageError.
    """
    if days < 1:
        raise InvalidRequest("Runs are kept for ever.", "Use --days, or set PLAYGROUND_KEEP_RUNS_DAYS.")
    before = now() - timedelta(days=days)
    if is_trial:
        with database.read() as session:
            found = retention.prunable(session, before)
        return Pruned(len(found), sum(size for _, size in found))
    retention.delete_abandoned(database.folder)
    return retention.prune(database, before)
