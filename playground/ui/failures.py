"""The edge of the page. A failed callback shows the visitor a sentence, and logs the stack with a request id."""

import functools
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio.route_utils import FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse

from playground.errors import PlaygroundError
from playground.settings import ROOT

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


def explained(error: Exception) -> tuple[str, str]:
    """Return (what happened, what to do).

    Anything but a `PlaygroundError` is a bug: it is logged, and only an id is shown.
    """
    if isinstance(error, PlaygroundError):
        return error.message, error.remedy
    request_id = secrets.token_hex(2)
    log.error("callback failed request_id=%s", request_id, exc_info=error)
    return "Something broke on our side. Your text is kept.", f"Try again. (id {request_id})"


def words_of(error: Exception) -> str:
    """Return what happened and what to do, as one text."""
    return " ".join(explained(error)).strip()


async def unknown(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request for something that the page does not have. Anything of ours that broke is told as such."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    is_ours = frame is not None and str(ROOT / "playground") in frame.tb_frame.f_code.co_filename
    if is_ours:
        return await broken(_request, error)
    sentence = "The page has nothing of this name. Reload it, or look at the list of endpoints."
    return JSONResponse({"error": sentence, "detail": sentence}, 404)


async def broken(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request that broke, in the words that every failure has."""
    words = words_of(error)
    return JSONResponse({"error": words, "detail": words}, 500)


def _toast(error: Exception, *, is_page: bool) -> gr.Error:
    # toasts accept markup, and messages may quote what a visitor typed; a program gets the words as they are
    words = words_of(error)
    return gr.Error(escape(words) if is_page else words, duration=8, print_exception=False)


HANDLERS: dict[Any, Any] = {FnIndexInferError: unknown, KeyError: unknown, Exception: broken}


@contextmanager
def _edge(*, is_page: bool) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise _toast(error, is_page=is_page) from error


def guarded(callback: Callable[P, R], *, is_page: bool = True) -> Callable[P, R]:
    """Return `callback` with its failures shown as a toast, or without `is_page` as an error of the API."""

    @functools.wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with _edge(is_page=is_page):
            return callback(*args, **kwargs)

    return call


def guarded_stream(callback: Callable[P, Iterator[R]], *, is_page: bool = True) -> Callable[P, Iterator[R]]:
    """Return a generator function as `guarded` does. Closing its generator closes that of `callback`."""

    @functools.wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        with _edge(is_page=is_page):
            yield from callback(*args, **kwargs)

    return call


def ended(stream: Iterator[R], ending: Callable[[str, str], R]) -> Iterator[R]:
    """Yield `stream`. If it breaks, yield `ending(what happened, what to do)`, so that no view waits forever."""
    try:
        yield from stream
    except Exception as error:  # noqa: BLE001  the edge of a streaming callback: logged and shown, never left waiting
        yield ending(*explained(error))
