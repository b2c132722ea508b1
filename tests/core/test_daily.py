"""The use of experts by day: the maths, empty days, runs over other pools, days outside."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from playground.core.daily import DAYS, daily_use, first_moment

TODAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def used(back: int, **shares: float) -> tuple[datetime, tuple[str, ...], np.ndarray]:
    """Return a run some days before today, whose pool is just these experts."""
    return NOON - timedelta(days=back), tuple(shares), np.array(list(shares.values()), np.float32)


def test_nothing_used_is_no_share() -> None:
    use = daily_use([], TODAY)
    assert use.days == (*(date(2026, 2, day) for day in range(23, 29)), TODAY)
    assert (use.runs.tolist(), use.shares, use.highest, use.overall("math")) == ([0] * DAYS, {}, 0, 0)


def test_shares_are_means_over_the_runs_of_a_day_whatever_their_pools() -> None:
    use = daily_use(
        [
            used(0, math=1.0, base=0.0),
            used(0, base=0.25, code=0.75),  # math was not to choose here, and still had no part
            used(6, safe=1.0),
            used(6, math=0.5, safe=0.5),
            used(6, math=0.0, safe=1.0),
            used(6, safe=1.0, math=0.0),
        ],
        TODAY,
    )
    assert use.runs.tolist() == [4, 0, 0, 0, 0, 0, 2]
    assert use.shares["math"] == pytest.approx([0.125, 0, 0, 0, 0, 0, 0.5])
    assert use.shares["base"] == pytest.approx([0, 0, 0, 0, 0, 0, 0.125])
    assert use.overall("math") == pytest.approx(1.5 / 6)
    assert use.highest == pytest.approx(0.875)
    assert sum(use.shares.values())[[0, 6]] == pytest.approx([1, 1])
    assert "emotion" not in use.shares


def test_an_expert_with_a_zero_share_was_not_used() -> None:
    assert list(daily_use([used(1, math=1.0, base=0.0)], TODAY).shares) == ["math"]


def test_days_are_utc_and_others_are_left_out() -> None:
    assert first_moment(TODAY) == datetime(2026, 2, 23, tzinfo=UTC)
    late = datetime(2026, 2, 28, 23, 30, tzinfo=timezone(-timedelta(hours=2)))  # 1:30 of 1 March in UTC
    usage = np.ones(1, np.float32)
    use = daily_use([(late, ("math",), usage), used(DAYS, base=1.0), used(-1, base=1.0)], TODAY)
    assert use.runs.tolist() == [0] * (DAYS - 1) + [1]
    assert list(use.shares) == ["math"]
