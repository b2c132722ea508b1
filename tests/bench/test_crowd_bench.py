"""The measurement of a page in mixed use, on a scripted page: it acts, it counts, and it sees memory grow."""

from pathlib import Path

import pytest

from playground.bench.subjects.crowd.beside import beside
from playground.bench.subjects.crowd.crowd import Crowd
from playground.bench.subjects.crowd.watching import KINDS, flatness, use
from tests.e2e.test_endpoints import started


def test_every_kind_of_action_is_done_and_memory_is_read(tmp_path: Path) -> None:
    process, address = started(tmp_path)
    try:
        asked = Crowd(minutes=0.08, visitors=2, pause=0.05, tokens=8, rounds=1, settle=0, flood=4)
        found = use(asked, process.pid, address, print)
        times = beside(asked, address, print)
    finally:
        process.kill()
        process.wait()
    assert set(found["by_kind"]) == set(KINDS)
    assert found["actions"] == sum(found["by_kind"].values()) >= len(KINDS)
    assert found["refused"] == 0
    assert found["resting_mb"] > 50
    assert 0 < found["largest_reply_mb"] < 20
    assert all(times[name] > 0 for name in ("vote_quiet_s", "vote_beside_s", "page_beside_s", "ask_ratio"))


def test_growth_is_what_came_after_the_first_minutes() -> None:
    flat = [(minute / 4, 1000.0 if minute / 4 >= 5 else 500.0 + 100 * minute) for minute in range(80)]
    assert flatness(flat, 500, 5)["growth"] == 0
    growing = [(minute / 4, 1000.0 + 5 * minute / 4) for minute in range(80)]
    found = flatness(growing, 1000, 5)
    assert found["growth"] == pytest.approx(70 / 1027, abs=0.003)
    assert found["peak_ratio"] == pytest.approx(1.099, abs=0.001)
    assert len(found["each_minute_mb"]) == 20
