"""What commands share at their start: reading the settings, and loading a model with progress."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playground.actions import start
from playground.cli.reply import Reply
from playground.errors import InvalidRequest
from playground.settings import SMALL_DATA, Settings, get_settings

if TYPE_CHECKING:
    from playground.model.base import LanguageModel
    from playground.serving.runtime import Runtime, Status


OptionFlag = Annotated[list[str] | None, typer.Option("--option", help="An option as name=value. Can be repeated.")]


def read_settings() -> Settings:
    """Return the settings of this process. Raise InvalidRequest that names a wrong setting."""
    return get_settings()


@contextlib.contextmanager
def ready_runtime(reply: Reply) -> Iterator["Runtime"]:
    """Yield a playground whose models are loaded, then close it. Raise the PlaygroundError of a failed start."""

    def show(status: "Status") -> None:
        reply.progress(f"{status.message}{_megabytes(status.done, status.total)}")

    with start.ready_runtime(read_settings(), show) as runtime:
        reply.progress("")
        yield runtime


def loading_shown(reply: Reply) -> Callable[[Any, int, int], None]:
    """Return a callback that shows a phase of loading and its megabytes."""

    def show(phase: Any, done: int, total: int) -> None:
        reply.progress(f"{phase} the language model{_megabytes(done, total)}")

    return show


def base_with_progress(settings: Settings, reply: Reply) -> "LanguageModel":
    """Return a language model of one's own, with progress shown while it is fetched and loaded."""
    return start.base_model(settings, loading_shown(reply))


def data_folder(given: Path | None, settings: Settings, *, small: bool = False) -> Path:
    """Return the folder of data sets to use. With `small`, the one of the project is the default.

    Raise InvalidRequest when there is none, or when it does not exist.
    """
    folder = given or settings.bench_data or (SMALL_DATA if small else None)
    if folder is None:
        raise InvalidRequest("No data folder is given.", "Use --data FOLDER, or set PLAYGROUND_BENCH_DATA.")
    if not folder.is_dir():
        raise InvalidRequest(f"There is no folder {folder}.", "Correct --data or PLAYGROUND_BENCH_DATA.")
    return folder


def _megabytes(done: int, total: int) -> str:
    return f" {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
