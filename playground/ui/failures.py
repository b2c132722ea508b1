"""The page's edge: what broke in a callback becomes a sentence for the visitor and a logged stack with a request id."""

import functools
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr

from playground.errors import PlaygroundError

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


def told(error: Exception) -> tuple[str, str]:
    """(what happened, what to do). Anything but a `PlaygroundError` is a bug: logged, and only an id is shown."""
    if isinstance(error, PlaygroundError):
        return error.message, error.remedy
    request_id = secrets.token_hex(2)
    log.error("callback failed request_id=%s", request_id, exc_info=error)
    return "Something broke on our side; what you wrote is kept.", f"Try again. (id {request_id})"


def _toast(error: Exception) -> gr.Error:
    message, remedy = told(error)
    # toasts accept markup, and messages may quote what a visitor typed
    return gr.Error(escape(f"{message} {remedy}".strip()), duration=8, print_exception=False)


@contextmanager
def _edge() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise _toast(error) from error


def guarded(callback: Callable[P, R]) -> Callable[P, R]:
    """`callback`, whose failure is one toast (or an error of the API) instead of a stack."""

    @functools.wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with _edge():
            return callback(*args, **kwargs)

    return call


def guarded_stream(callback: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """The same for a generator; closing it closes `callback`."""

    @functools.wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        with _edge():
            yield from callback(*args, **kwargs)

    return call


def ended(stream: Iterator[R], ending: Callable[[str, str], R]) -> Iterator[R]:
    """`stream`, and when it breaks one more item made from (what happened, what to do): no view is left waiting."""
    try:
        yield from stream
    except Exception as error:  # noqa: BLE001  the edge of a streaming callback: logged and shown, never left waiting
        yield ending(*told(error))
