"""Open router versions without a language model, for the command line to list, put in force and fine-tune."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from playground.actions.database import opened
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.serving.versions import Versions


@contextlib.contextmanager
def opened_versions(settings: Settings) -> Iterator["Versions"]:
    """Yield the versions in the database of `settings`, with its tables up to date. Close it on leaving."""
    from playground.serving.versions import Versions  # noqa: PLC0415  (imports torch)

    with opened(settings) as database:
        yield Versions(database, settings)
