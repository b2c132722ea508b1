"""How much each expert was used on each of the last days, from the usage of runs. Pure: no clock, no database."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

DAYS = 7
DatedUsage = tuple[datetime, tuple[str, ...], np.ndarray]  # when, the pool's experts, usage (E,) over them


@dataclass(frozen=True, eq=False)
class DailyUse:
    """`days` in UTC, oldest first; `runs` of each; `shares` by expert, (days,): its mean usage over a day's runs."""

    days: tuple[date, ...]
    runs: np.ndarray
    shares: Mapping[str, np.ndarray]

    def overall(self, name: str) -> float:
        """Mean usage of an expert over all runs of these days, 0 for one that was never used."""
        total = self.runs.sum()
        return float(self.shares[name] @ self.runs / total) if name in self.shares and total else 0.0

    @property
    def highest(self) -> float:
        """The largest share that any expert had on any day."""
        return max((float(share.max()) for share in self.shares.values()), default=0.0)


def first_moment(today: date) -> datetime:
    """Where the first of the `DAYS` that end with `today` begins."""
    first = today - timedelta(days=DAYS - 1)
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def daily_use(usages: Iterable[DatedUsage], today: date) -> DailyUse:
    """The use on the `DAYS` that end with `today`; runs of other days are left out.

    An expert outside a run's pool had no part in it, so the shares of a day with runs sum to 1.
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
