"""Lets only the newest stream write to a visitor's page. Older streams are told to leave.

The framework's own `cancels` comes too late for that: it waits for the stream that should replace the old one.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

KEPT = 2000


@dataclass(eq=False)
class Turn:
    """One stream's turn. The stream writes nothing more once `left` is set. It sets `done` when it has ended.

    `run_id` is the run it writes, empty before that began.
    """

    token: str
    run_id: str = ""
    left: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Turns:
    """The turns of this process. The newest are kept. A page holds only the random token of its own turn."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Turn] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, before: object, *, patience_s: float = 0) -> Turn:
        """Return a new turn for a page. Its last turn, `before`, leaves.

        Wait up to `patience_s` seconds until that turn is done: then none of its updates can arrive after the new ones.
        """
        last = self.leave(before)
        if last is not None and patience_s:
            last.done.wait(patience_s)
        turn = Turn(secrets.token_urlsafe(16))
        with self._lock:
            self._known[turn.token] = turn
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return turn

    def get(self, token: object) -> Turn | None:
        """Return the turn of `token`, if it is known."""
        with self._lock:
            return self._known.get(str(token or ""))

    def leave(self, token: object) -> Turn | None:
        """Tell the turn of `token` to write nothing more. Return the turn, if it is known."""
        turn = self.get(token)
        if turn is not None:
            turn.left.set()
        return turn
