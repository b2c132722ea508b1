"""What a browser or a client sent is checked before anything reads it."""

import inspect
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from gradio.components.api_component import Api

from playground.errors import InvalidRequest
from playground.ui.browser_values import STRANGE, pressed_id, readable, strange, typed, with_defaults


@pytest.mark.parametrize(
    ("control", "good", "bad"),
    [
        (gr.Textbox, ["x", None, 3], [{}, ["x"]]),
        (gr.HTML, ["x", None], [{}, [1]]),
        (gr.Slider, [1, 0.5], ["x", {}, [1], None]),
        (gr.Number, [1, None], ["x", {}]),
        (gr.Checkbox, [True, None], ["x", {}, 1.5]),
        (gr.CheckboxGroup, [["a"], []], ["x", [{}], {}, None]),
        (gr.Dropdown, ["x", None], [{}, ["x"]]),
        (gr.File, [None, [{"path": "x"}], {"path": "x"}], ["x", ["x"]]),
        (gr.State, [None, {}, "x"], []),
    ],
)
def test_a_control_sends_its_own_kind_only(control: Any, good: list[Any], bad: list[Any]) -> None:
    inputs = [control()]
    assert [value for value in good if strange(inputs, [value], None)] == []
    assert [value for value in bad if strange(inputs, [value], None) != STRANGE] == []


def test_the_number_of_values_and_the_event_are_checked() -> None:
    assert strange([gr.Textbox()], [], None) == STRANGE
    assert strange([gr.Textbox()], ["x", "y"], None) == STRANGE
    assert strange([gr.Textbox()], ["x"], ["id"]) == STRANGE
    assert not strange([gr.Textbox()], ["x"], {"id": "y"})


def test_an_endpoint_may_leave_arguments_out() -> None:
    inputs = [Api(None, {}, "prompt"), Api("knn", {}, "router"), Api(32, {}, "tokens")]
    assert with_defaults(inputs, ["Hi"]) == ["Hi", "knn", 32]
    assert with_defaults([gr.Textbox()], []) == []


def test_half_characters_become_marks() -> None:
    assert readable("a\ud800b\x00") == "a?b\ufffd"
    assert readable(["\ud800"]) == ["\ud800"]


@pytest.mark.parametrize(("data", "expected"), [({"id": "x"}, "x"), ({"id": 3}, ""), ({}, ""), ("x", ""), (None, "")])
def test_the_pressed_part_is_known_by_a_text(data: Any, expected: str) -> None:
    assert pressed_id(gr.EventData(None, data)) == expected


def test_an_endpoint_refuses_arguments_of_another_type() -> None:
    @typed
    def ask(prompt: str, tokens: int = 32, heat: float = 0.5, change: dict[str, Any] = {}) -> Any:  # noqa: B006
        return prompt, tokens, heat, change

    assert ask("x", "7", 1, {"a": 1}) == ("x", 7, 1.0, {"a": 1})  # type: ignore[arg-type]
    assert ask(3, None, None, None) == ("3", 32, 0.5, {})  # type: ignore[arg-type]
    for wrong in ([{}], [None], ["x", []], ["x", True], ["x", "many"], ["x", 10**30], ["x", 1, {}], ["x", 1, 1.0, "{"]):
        with pytest.raises(InvalidRequest, match="The argument"):
            ask(*wrong)
    assert list(inspect.signature(ask).parameters) == ["prompt", "tokens", "heat", "change"]


def test_a_stream_is_checked_when_it_is_read() -> None:
    @typed
    def run(prompt: str) -> Iterator[str]:
        yield prompt

    assert list(run("x")) == ["x"]
    with pytest.raises(InvalidRequest):
        list(run({}))  # type: ignore[arg-type]
