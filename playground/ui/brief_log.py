"""Keeps the log short: the same failure is written with its stack once an hour, and as one line after that.

The framework prints a stack of many lines for whatever a stranger sends, so that a few thousand bad requests would fill
a disk.
"""

import logging
import threading
import time
import traceback
from types import TracebackType

from gradio import queueing, routes

AGAIN_SECONDS = 3600.0
MOST_KNOWN = 500
Place = tuple[str, str, int]

log = logging.getLogger(__name__)


class OnceAnHour(logging.Filter):
    """Takes the stack from a record whose failure was logged with one within the hour."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Place, float] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: every record is kept, and a repeated one is made short."""
        if record.exc_info and isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            place = place_of(record.exc_info[0], record.exc_info[2])
            if not self._is_new(place):
                kind, file, line = place
                record.msg = f"{record.getMessage().splitlines()[0][:200]} again={kind} at={file}:{line}"
                record.args, record.exc_info, record.exc_text = (), None, None
        return True

    def _is_new(self, place: Place) -> bool:
        now = time.monotonic()
        with self._lock:
            told = self._known.get(place)
            if told is not None and now - told < AGAIN_SECONDS:
                return False
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[place] = now
            return True


def place_of(kind: type[BaseException], stack: TracebackType | None) -> Place:
    """Return what failed: the kind of exception, and the file and line that raised it."""
    frames = traceback.extract_tb(stack)
    return (kind.__name__, frames[-1].filename, frames[-1].lineno or 0) if frames else (kind.__name__, "", 0)


class _Printing:
    """Stands in for the module `traceback` where the framework prints: what it prints goes to the log."""

    @staticmethod
    def print_exc() -> None:
        log.error("a request broke in the framework", exc_info=True)


def keep_log_brief() -> None:
    """Make what repeats short in the log of the server, of the framework and of our callbacks."""
    brief = OnceAnHour()
    for name in ("uvicorn.error", "playground.ui.failures", __name__):
        logger = logging.getLogger(name)
        for old in [one for one in logger.filters if isinstance(one, OnceAnHour)]:
            logger.removeFilter(old)
        logger.addFilter(brief)
    for module in (queueing, routes):
        module.traceback = _Printing  # type: ignore[attr-defined]  # all that they use of it is print_exc
