"""Checks what a browser or a client sent, before the framework reads it: the right number of values, of the right kind.

A page of ours sends nothing else. Whatever is caught here would break inside the framework or a callback, and look like
an error of ours.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints

import gradio as gr
from gradio.components.api_component import Api

from playground.errors import InvalidRequest

P = ParamSpec("P")
R = TypeVar("R")
LARGEST = 2**63
STRANGE = "The page sent something that cannot be read. Reload it."
# of each kind of control, what it may send
KINDS: tuple[tuple[type, tuple[type, ...]], ...] = (
    (gr.Slider, (int, float)),
    (gr.Number, (int, float)),
    (gr.Checkbox, (bool,)),
    (gr.CheckboxGroup, (list,)),
    (gr.File, (list, dict)),
    (gr.Dropdown, (str, int, float)),
    (gr.Radio, (str, int, float)),
    (gr.Textbox, (str, int, float)),
    (gr.HTML, (str, int, float)),
)
NEVER_EMPTY = (gr.Slider, gr.CheckboxGroup)
NEEDED: dict[type, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str, int, float)),
    int: ("a whole number", (int, float, str)),
    float: ("a number", (int, float, str)),
    dict: ("an object", (dict,)),
}


def readable(value: Any) -> Any:
    """Return a text as every database can hold it, and any other value as it is."""
    return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd") if isinstance(value, str) else value


def strange(inputs: Sequence[Any], values: Sequence[Any], pressed: Any = None) -> str:
    """Return why these values cannot come from these controls, or nothing. `pressed` is what an event of ours holds."""
    if len(values) != len(inputs) or not isinstance(pressed, dict | None):
        return STRANGE
    fits = all(_fits(control, value) for control, value in zip(inputs, values, strict=True))
    return "" if fits else STRANGE


def _fits(control: Any, value: Any) -> bool:
    allowed = next((kinds for kind, kinds in KINDS if isinstance(control, kind)), None)
    if allowed is None or (value is None and not isinstance(control, NEVER_EMPTY)):
        return True
    if isinstance(value, list):
        part = dict if isinstance(control, gr.File) else str
        return list in allowed and all(isinstance(one, part) for one in value)
    return isinstance(value, allowed)


def with_defaults(inputs: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Return the values with their texts made readable, for an endpoint also the defaults of those left out."""
    given, missing = [readable(value) for value in values], inputs[len(values) :]
    return [*given, *(one.value for one in missing)] if all(isinstance(one, Api) for one in missing) else given


def pressed_id(event: gr.EventData) -> str:
    """Return the id of what was pressed. Empty when the browser sent none."""
    data = event._data
    found = data.get("id") if isinstance(data, dict) else None
    return str(readable(found)) if isinstance(found, str) else ""


def typed(method: Callable[P, R]) -> Callable[P, R]:
    """Return an endpoint that refuses arguments of another type than it names. None stands for the default."""
    names, hints = inspect.signature(method), get_type_hints(method)

    def read(args: Any, kwargs: Any) -> dict[str, Any]:
        given = names.bind(*args, **kwargs).arguments
        return {
            name: read_argument(name, hints.get(name), value, names.parameters[name].default)
            for name, value in given.items()
        }

    if inspect.isgeneratorfunction(method):

        @wraps(method)
        def stream(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            yield from method(**read(args, kwargs))  # type: ignore[call-arg,misc]  # the names are its own

        return stream  # type: ignore[return-value]

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(**read(args, kwargs))  # type: ignore[call-arg]  # as above

    return call


def read_argument(name: str, hint: Any, value: Any, default: Any) -> Any:
    """Return the value of an argument as its type. Raise InvalidRequest when it has another."""
    kind = getattr(hint, "__origin__", hint)
    if kind not in NEEDED or (value is None and default is not inspect.Parameter.empty):
        return default if kind in NEEDED else value
    words, allowed = NEEDED[kind]
    wrong = InvalidRequest(f"The argument {name} is not {words}.", f"Give {words}.")
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not str):
        raise wrong
    if kind is dict:
        return value
    try:
        read = kind(value)
    except (ValueError, OverflowError) as error:
        raise wrong from error
    if kind is int and not -LARGEST < read < LARGEST:
        raise wrong
    return read
