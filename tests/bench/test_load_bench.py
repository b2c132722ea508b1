"""Visitors at once on the tiny model: no runs are mixed up, no vote is lost, and the bench would notice if one were."""

import numpy as np
import pytest

from playground.bench.subjects.load import visitors
from playground.bench.subjects.load.load import Load
from playground.core.events import Failed, RunStarted
from playground.settings import Settings


def test_visitors_do_not_meet_and_votes_are_kept(tiny_settings: Settings) -> None:
    found = Load(visitors=4, tokens=8, rounds=1, votes=3).run(tiny_settings, print)
    assert found["errors"] == found["crossed"] == found["votes_lost"] == 0
    assert found["votes_sent"] == found["votes_acknowledged"] == 12
    assert found["requests"] == 12
    assert len(set(found["routers"])) > 2
    assert found["throughput_ratio"] > 0
    assert found["vote_p95_ms"] > 0
    assert found["peak_mb"] > 50


def told(*tokens: int, weight: float = 1.0, error: str = "") -> visitors.Told:
    return visitors.Told("run", tokens, np.full((len(tokens), 2), weight), error)


def test_another_token_or_weight_is_not_the_same_run() -> None:
    assert told(1, 2, 3).same(told(1, 2, 3, weight=1.001))
    assert not told(1, 2, 3).same(told(1, 2, 4))
    assert not told(1, 2, 3).same(told(1, 2))
    assert not told(1, 2, 3).same(told(1, 2, 3, weight=0.5))
    assert not told(1, 2, 3).same(told(1, 2, 3, error="broke"))


def test_a_broken_run_is_told_as_an_error() -> None:
    started = RunStarted("p", "manual", "v", "prompt", ("base",), 0, 2, 4, run_id="r")
    found = visitors.told(iter([started, Failed(stage="decode", message="it broke", remedy="try again")]))
    assert (found.run_id, found.tokens, found.error) == ("r", (), "it broke")


def test_all_begin_together_and_errors_are_not_hidden() -> None:
    assert visitors._at_once([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        visitors._at_once([lambda: 1 // 0])
