"""Count how much each expert was used on each of the last days, from the usage of runs.

This module is pure: it reads no clock and no database.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

DAYS = 7
DatedUsage = tuple[datetime, tuple[str, ...], np.ndarray]  # when, the pool's experts, usage (E,) over them


@dataclass(frozen=True, eq=False)
class DailyUse:
    """Hold the use of experts by day.

    `days` are in UTC, oldest first. `runs` (days,) counts the runs of each day. `shares` maps an expert to its mean
    usage over the runs of each day, (days,).
    """

    days: tuple[date, ...]
    runs: np.ndarray
    shares: Mapping[str, np.ndarray]

    def overall(self, name: str) -> float:
        """Return the mean usage of an expert over all runs of these days. It is 0 for an expert that was never used."""
        total = self.runs.sum()
        return float(self.shares[name] @ self.runs / total) if name in self.shares and total else 0.0

    @property
    def highest(self) -> float:
        """Return the largest share that any expert had on any day."""
        return max((float(share.max()) for share in self.shares.values()), default=0.0)


def first_moment(today: date) -> datetime:
    """Return the start of the first of the `DAYS` days that end with `today`."""
    first = today - timedelta(days=DAYS - 1)
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def daily_use(usages: Iterable[DatedUsage], today: date) -> DailyUse:
    """Return the use on the `DAYS` days that end with `today`. Runs of other days are left out.

    An expert outside the pool of a run counts as unused there. The shares of a day with runs therefore sum to 1.
    """
    days = tuple(today - timedelta(days=back) for back in reversed(range(DAYS)))
    runs, totals = np.zeros(DAYS), defaultdict[str, np.ndarray](lambda: np.zeros(DAYS))
    for moment, experts, usage in usages:
        day = DAYS - 1 - (today - moment.astimezone(UTC).date()).days
        if 0 <= day < DAYS:
            runs[day] += 1
            for position in np.flatnonzero(usage):
                totals[experts[position]][day] += usage[position]
    return DailyUse(days, runs, {name: total / np.maximum(runs, 1) for name, total in totals.items()})
