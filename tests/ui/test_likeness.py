"""How similar the experts are: figures from adapters and from stored runs."""

from typing import Any

import pytest

from playground.actions.likeness import used_together
from playground.core.values import RunRequest
from playground.ui.likeness import picture


def run(runtime: Any, pool: tuple[str, ...], weights: tuple[float, ...]) -> None:
    list(runtime.run(RunRequest("Which?", "manual", pool=pool, override=weights)))


def test_usage_is_correlated_over_the_runs_that_could_use_both(runtime: Any) -> None:
    assert used_together(runtime)[0::2] == ([], 0)
    for share in (0.1, 0.4, 0.9):
        run(runtime, ("base", "math"), (share, 1 - share))
    run(runtime, ("base", "emotion"), (0.5, 0.5))
    names, used, runs = used_together(runtime)
    assert (names, runs) == (["base", "emotion", "math"], 4)
    assert used[0, 2] == pytest.approx(-1, abs=1e-4)
    assert used[0, 1] != used[0, 1]  # one run is not enough to tell


def test_the_panel_gets_json_ready_figures(runtime: Any) -> None:
    found = picture(runtime)
    assert [look["name"] for look in found["looks"]] == ["sentiment", "emotion", "math"]
    assert len(found["reading"]) == len(found["change"][0]) == 3
    assert found["reading"][0][0] == 1.0
    assert 0 < found["chance"] < 1
    assert found["used"] == []
