"""From an iterator of events to the growing texts the page draws: coalesced, so that a fast model does not flood it."""

import time
from collections.abc import Iterable, Iterator

from playground.core.events import Event, TokenGenerated
from playground.core.fold import ViewState, fold
from playground.core.values import Pool
from playground.ui.wire import line

# ten updates a second: more is not seen, fewer looks jerky (measured: an envelope costs about 300 bytes)
UPDATE_SECONDS = 0.1


def streamed(events: Iterable[Event], pool: Pool, *, text: str = "") -> Iterator[tuple[str, ViewState]]:
    """(all lines so far, state so far), ten times a second while tokens come, at once for the rest."""
    state, shown = ViewState(), 0.0
    for event in events:
        state = fold(state, event)
        text += line(event, pool)
        now = time.monotonic()
        if not isinstance(event, TokenGenerated) or now - shown >= UPDATE_SECONDS:
            shown = now
            yield text, state
