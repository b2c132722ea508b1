"""Fetches the language model before the first test that needs it begins, and says how far it is.

A test has a time limit. On a machine with an empty cache the download alone may take longer.
"""

import sys
import time
from collections.abc import Iterable
from typing import TextIO

import pytest

from playground.errors import ArtefactError
from playground.model.artefacts import base_folder, is_cached
from playground.settings import Settings

TELL_SECONDS = 2.0  # between two lines of progress


class Teller:
    """Write a line when the phase changes, and every two seconds while bytes arrive."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.phase, self.told = stream, "", 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Tell of `done` bytes of `total`; 0 of 0 when that is not known."""
        now = time.monotonic()
        if phase == self.phase and now - self.told < TELL_SECONDS and not 0 < done == total:
            return
        self.phase, self.told = phase, now
        share = f" {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        print(f"  {phase}{share}", file=self.stream, flush=True)


def needs_model(items: Iterable[pytest.Item]) -> bool:
    """Return whether one of the selected tests is marked as needing the language model."""
    return any(item.get_closest_marker("model") for item in items)


def fetch_model(settings: Settings, stream: TextIO | None = None) -> None:
    """Fetch and convert the model unless it is cached. When it cannot be had, say why; its tests skip themselves."""
    if is_cached(settings):
        return
    stream = stream or sys.stderr
    print("\nThe tests need the language model (93 MB). It is fetched once:", file=stream, flush=True)
    try:
        base_folder(settings, Teller(stream))
    except ArtefactError as error:
        print(f"  It cannot be had: {error.message} {error.remedy}", file=stream, flush=True)
