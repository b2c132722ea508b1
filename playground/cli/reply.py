"""The reply of a command: one JSON object on standard output, or text. Progress and errors go to standard error.

While a command works with `--json`, whatever a library prints is sent to standard error, so that a program reading the
output can trust it.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from playground.cli.words import check_arguments
from playground.errors import PlaygroundError

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")
]


class Reply:
    """What a command has to say. `value` is the JSON object. `failed` makes the exit status 1 without an error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.value: dict[str, Any] = {}
        self.failed = False

    def say(self, text: str = "", *, end: str = "\n") -> None:
        """Write to a person. Do nothing when a program reads."""
        if not self.as_json:
            print(text, end=end, flush=True)

    def progress(self, text: str, *, ends: bool = False) -> None:
        """Show a passing state on standard error: over itself on a terminal, only the last one elsewhere."""
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{text}", end="\n" if ends else "", file=sys.stderr, flush=True)
        elif ends:
            print(text, file=sys.stderr, flush=True)

    def table(self, rows: list[dict[str, str]]) -> None:
        """Write rows as aligned columns, the keys of the first one as headings."""
        if not rows:
            return
        widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
        self.say("  ".join(key.ljust(width) for key, width in widths.items()).rstrip())
        for row in rows:
            self.say("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())


@contextlib.contextmanager
def replying(as_json: bool) -> Iterator[Reply]:
    """Yield the reply of a command and print it at the end. A PlaygroundError becomes a message and exit status 1."""
    reply = Reply(as_json)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    out = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            check_arguments(sys.argv[1:])
            yield reply
    except PlaygroundError as error:
        print(error.message, file=sys.stderr)
        if error.remedy:
            print(error.remedy, file=sys.stderr)
        if as_json:
            print(to_json({"error": error.message, "remedy": error.remedy}), file=out, flush=True)
        raise typer.Exit(1) from error
    if as_json:
        print(to_json(reply.value), file=out, flush=True)
    if reply.failed:
        raise typer.Exit(1)


def to_json(value: dict[str, Any]) -> str:
    """Return `value` on one line of JSON. Numpy numbers, arrays and paths are allowed; NaN becomes null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Path) or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
