"""What the override panel sends becomes a request. Anything else is refused."""

import json
from typing import Any

import pytest

from playground.actions.ask_again import answer_again, counterfactual
from playground.core.fold import fold_all
from playground.core.values import RunRequest
from playground.errors import InvalidRequest
from playground.ui.views.override import override_value

FIRST = RunRequest("Which?", "lora_mixer", serve="sample")


def panel(**changes: Any) -> str:
    values = {"mode": "set", "weights": [0, 50, 0, 50, 0], "dropped": [], "from": 1, "to": 30, "layers": 30}
    return json.dumps(values | changes)


def test_weights_for_all_layers_replace_the_router(runtime: Any) -> None:
    pool = runtime.pool.select(("base", "sentiment", "emotion", "math", "calculator"))
    asked = counterfactual(FIRST, pool, panel())
    assert asked.override == (0, 0.5, 0, 0.5, 0)
    assert (asked.override_layers, asked.serve, asked.pool) == ((), "mix", pool.names)
    assert counterfactual(FIRST, pool, panel(weights=[0, 0, 0, 0, 1])).serve == "top"  # a tool answers alone


def test_the_panel_asks_for_the_weights_of_the_run_before_it_is_touched(runtime: Any) -> None:
    state = fold_all(runtime.run(RunRequest("What is 2 + 2?", "lora_mixer")))
    asked = counterfactual(FIRST, runtime.pool.select(state.pool), override_value(state, runtime.pool))
    assert asked.override == pytest.approx(state.finished.usage, abs=1e-3)  # type: ignore[union-attr]
    assert asked.override_layers == ()


def test_weights_for_some_layers_leave_the_rest_to_the_router(runtime: Any) -> None:
    pool = runtime.pool.select(("base", "sentiment", "emotion", "math", "calculator"))
    asked = counterfactual(FIRST, pool, panel(**{"from": 3, "to": 5}))
    assert (asked.override_layers, asked.serve) == ((2, 3, 4), "sample")
    assert counterfactual(FIRST, pool, panel(to=10**9)).override_layers == ()


def test_leaving_experts_out_asks_the_router_again(runtime: Any) -> None:
    pool = runtime.pool.select(("base", "sentiment", "math"))
    asked = counterfactual(FIRST, pool, panel(mode="drop", dropped=["math"]))
    assert (asked.pool, asked.override, asked.router) == (("base", "sentiment"), None, "lora_mixer")
    for dropped in ([], ["nobody"], ["base", "sentiment", "math"]):
        with pytest.raises(InvalidRequest):
            counterfactual(FIRST, pool, panel(mode="drop", dropped=dropped))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "[]",
        "{}",
        panel(weights=[1, 2]),
        panel(weights=["a"] * 5),
        panel(weights=[0] * 5),
        panel(weights=[-1, 2, 0, 0, 0]),
        panel(weights=[float("nan")] * 5),
        panel(layers="many"),
    ],
)
def test_what_is_no_override_is_refused(runtime: Any, value: Any) -> None:
    pool = runtime.pool.select(("base", "sentiment", "emotion", "math", "calculator"))
    with pytest.raises(InvalidRequest):
        counterfactual(FIRST, pool, value)


def test_a_client_asks_again_by_names(runtime: Any) -> None:
    [started, *_] = runtime.run(RunRequest("Which?", "lora_mixer"))
    stored = started.run_id
    found = answer_again(runtime, stored, {"weights": {"math": 3, "base": 1}, "layers": [2, 4]})
    assert runtime.requests[-1].override == (0.25, 0, 0, 0.75, 0)
    assert runtime.requests[-1].override_layers == (1, 2, 3)
    assert found["first_difference"] == 13
    assert found["likelihoods"]["first_by_second"] == -1.25
    assert found["first"]["answer"] != found["again"]["answer"]
    answer_again(runtime, stored, {"leave_out": ["math"]})
    assert "math" not in runtime.requests[-1].pool
    for change in (
        {},
        {"weights": []},
        {"weights": {"nobody": 1}},
        {"leave_out": 3},
        {"weights": {"math": 1}, "layers": [1]},
    ):
        with pytest.raises(InvalidRequest):
            answer_again(runtime, stored, change)
    with pytest.raises(InvalidRequest):
        answer_again(runtime, "nothing", {"leave_out": ["math"]})
