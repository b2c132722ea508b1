"""Read stored runs: the newest ones, the events of one, and how much each expert was used."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from playground.actions import identity
from playground.core.daily import DailyUse, daily_use, first_moment
from playground.core.events import Event
from playground.core.records import RunSummary
from playground.errors import InvalidRequest
from playground.store.runs import load_events, recent_runs, recent_usages, usages_since

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

LISTED = 12
MOST_LETTERS = 64  # of the id of a run


def recent(runtime: "Runtime", handle: str) -> list[RunSummary]:
    """Return the newest runs: everybody's on a local machine, only the visitor's own on a Space."""
    mine = identity.session_of(handle) if runtime.settings.is_space else None
    with runtime.database.read() as session:
        return recent_runs(session, LISTED, session_id=mine)


def events_of(runtime: "Runtime", run_id: str) -> list[Event]:
    """Return the events of a stored run. Raise InvalidRequest for an unknown one."""
    if not run_id.isalnum() or len(run_id) > MOST_LETTERS:
        raise InvalidRequest("This is not the id of a run.", "Open a run from the list.")
    with runtime.database.read() as session:
        return load_events(session, run_id)


def use_by_day(runtime: "Runtime") -> DailyUse:
    """Return how much each expert was used on each of the last days (UTC)."""
    today = datetime.now(UTC).date()
    with runtime.database.read() as session:
        return daily_use(usages_since(session, first_moment(today)), today)


def newest_usages(runtime: "Runtime", limit: int) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Return (experts, usage (E,)) of the newest runs that used any, newest first."""
    with runtime.database.read() as session:
        return recent_usages(session, limit)
