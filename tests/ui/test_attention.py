"""Attention on demand: watched, stopped, and asked for with bad arguments."""

import base64
from typing import Any

import numpy as np
import pytest

from playground.ui.attention import MOST_JOBS, AttentionOnDemand


def test_an_overview_can_be_watched_and_stopped(runtime: Any) -> None:
    watching = AttentionOnDemand(runtime)
    whole = watching.overview({"run": "r", "job": "a"})
    assert (whole["layers"], whole["heads"], whole["size"]) == (30, 9, 40)
    rollout = np.frombuffer(base64.b64decode(whole["rollout"]), "<f4").reshape(40, 40)
    assert rollout.sum(axis=1) == pytest.approx(np.ones(40), abs=1e-4)
    assert 0 < rollout[20, 1:21].max() < 1 / 255  # what bytes would lose
    assert watching.progress({"job": "a"}) == {}  # it is over
    seen: list[dict[str, int]] = []
    compute = runtime.attention_overview

    def watched(run_id: str, on_layer: Any) -> Any:
        def each(done: int, layers: int) -> None:
            on_layer(done, layers)
            seen.append(watching.progress({"job": "b", "stop": done == 4}))

        return compute(run_id, each)

    runtime.attention_overview = watched
    assert watching.overview({"run": "r", "job": "b"}) == {"stopped": True}
    assert seen[-1] == {"done": 4, "layers": 30}


def test_what_the_browser_may_not_ask_of_attention(runtime: Any) -> None:
    watching = AttentionOnDemand(runtime)
    assert "error" in watching.layer({"run": "r", "layer": "x"})
    assert "error" in watching.layer({"run": "r", "layer": 99})
    assert "error" in watching.overview(None)
    assert watching.progress(None) == watching.progress({"job": "none"}) == {}
    watching._jobs.update({str(i): [0, 0, 1] for i in range(MOST_JOBS)})
    assert "Too many" in watching.overview({"run": "r", "job": "one more"})["error"]
