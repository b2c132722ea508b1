"""Shows that a command is loading a language model."""

from collections.abc import Callable
from typing import Any

from playground.cli.reply import Reply


def loading_shown(reply: Reply) -> Callable[[Any, int, int], None]:
    """Return what shows a phase of loading with its megabytes as passing progress."""

    def show(phase: Any, done: int, total: int) -> None:
        megabytes = f" {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        reply.progress(f"{phase} the language model{megabytes}")

    return show
