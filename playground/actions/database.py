"""Open the database without a running playground, with its tables up to date, or check it."""

import contextlib
from collections.abc import Iterator

from playground.settings import Settings
from playground.store.database import Database, DatabaseCheck


@contextlib.contextmanager
def opened(settings: Settings, *, upgrade: bool = True) -> Iterator[Database]:
    """Yield the database of `settings`, then close it. Bring its tables up to date first, unless `upgrade` is off."""
    database = Database(settings.database_address, data_dir=settings.data_dir)
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
