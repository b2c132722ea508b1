"""Open the database without a running playground, with its tables up to date, or check it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playground.errors import InvalidRequest
from playground.settings import Settings
from playground.store.backup import back_up
from playground.store.database import Database, DatabaseCheck
from playground.store.label_views import count_labels


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
