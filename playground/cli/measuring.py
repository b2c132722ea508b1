"""What measuring commands share: a ready runtime, the chosen systems, and progress that suits a log."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from playground.actions.training import Measuring
from playground.actions.training import measuring as measuring_of
from playground.cli.reply import Reply
from playground.cli.start import ready_runtime

SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def measuring(reply: Reply, chosen: str = "", *, fresh: bool = False) -> Iterator[Measuring]:
    """Yield the measuring of the base and of the systems named in `chosen` (comma-separated; all by default).

    Raise InvalidRequest for a name that is not there.
    """
    with ready_runtime(reply) as runtime:
        found = measuring_of(runtime, words(chosen), fresh=fresh, tell=_Telling(reply))
        for name, reason in found.left_out.items():
            reply.progress(f"{name} is left out: {reason}", ends=True)
        yield found
        reply.progress("")


def words(text: str) -> Sequence[str]:
    """Return the names in a comma-separated option."""
    return [part.strip() for part in text.split(",") if part.strip()]


class _Telling:
    """Passes progress on to the reply, with a new line every half minute."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.told = time.monotonic()

    def __call__(self, text: str) -> None:
        ends = time.monotonic() - self.told >= SECONDS_BETWEEN_LINES
        if ends:
            self.told = time.monotonic()
        self.reply.progress(text, ends=ends)
