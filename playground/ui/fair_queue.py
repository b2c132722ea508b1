"""The page's queue, shared out fairly: nobody's requests keep others waiting, and no answer waits for ever.

The framework keeps one list for everything, first come, first served, and refuses everybody when it is full. Here:

- Each kind of work has its own places. A full line for the model does not hold up a vote.
- A visitor has at most half of the places of a kind at once, and a share of those who wait.
- Who has least under way is next. A full line makes room for somebody with fewer requests in it.
- An answer that nobody fetches is dropped, and a run that nobody reads is stopped.

It changes `push`, `get_events` and `process_events` of `gradio.queueing.Queue`, of the pinned version.
"""

import asyncio
import time
import uuid
from asyncio import Queue as AsyncQueue
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import fastapi
import gradio as gr
from anyio.to_thread import run_sync
from gradio.queueing import Event, EventQueue, Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage, ProcessGeneratingMessage
from gradio.utils import error_payload

from playground.core.rates import Rate
from playground.ui.browser_values import strange, with_defaults
from playground.ui.guard import MEGABYTE, REPLY_BYTES
from playground.ui.memory import give_back
from playground.ui.visitors import OpenPages, Visitor, address_of

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction
    from gradio.data_classes import PredictBodyInternal

MODEL = "model"  # the concurrency id of everything that waits for the model's thread
ROWS = {"compare": 2, "compare_next": 2}  # places of the model's batch, by the name of the callback
CHEAP_LIMIT = 8  # at once, for each callback that does not wait for the model
CHEAP_WAITING, CHEAP_WAITING_OF_ONE = 256, 32  # requests for one such callback that can wait
PACE, PACE_SECONDS = 200, 10.0  # requests of one visitor in that time; what comes quicker has to wait for its turn
REFUSED_SECONDS = 1.0  # a refusal comes slowly, so that whoever sends again at once costs little
WORKERS = 40  # events at once, of all kinds
READ_SECONDS = 30.0  # a reader asks for the next message every ten seconds
UNREAD_SECONDS = 60.0  # a run that nobody reads for so long is stopped
KEPT_SECONDS = 300.0  # an answer that nobody fetches for so long is dropped
KEPT_BYTES = 64 * MEGABYTE  # of all answers that nobody fetched yet, the oldest go first
BOX_BYTES = 4096  # an empty mailbox with its session
CLOSED_SESSIONS = 32  # sessions without an open page that are remembered, the newest
TIDY_SECONDS = 1.0
GIVE_BACK_SECONDS = 60.0
LONE = "call-"  # begins the session of a call that gave none


@dataclass(frozen=True)
class Shares:
    """How many requests for the model may wait: of all visitors, and of one."""

    waiting: int
    waiting_of_one: int


def size_of(value: Any) -> int:
    """Return about how many bytes a JSON-ready value takes in memory."""
    if isinstance(value, dict):
        return 64 + sum(64 + size_of(item) for item in value.values())
    if isinstance(value, list | tuple):
        return 64 + sum(map(size_of, value))
    return 56 + len(value) if isinstance(value, str | bytes) else 32


class Mailbox(AsyncQueue[EventMessage]):
    """The messages of one session that were not fetched yet, their size, and when somebody last asked for one."""

    def __init__(self) -> None:
        super().__init__()
        self.size = BOX_BYTES
        self.made_at = self.filled_at = time.monotonic()
        self.read_at = self.made_at - READ_SECONDS  # nobody has read it yet

    @property
    def is_read(self) -> bool:
        """Return whether somebody is reading."""
        return time.monotonic() - self.read_at < READ_SECONDS

    async def get(self) -> EventMessage:
        """Return the next message. Waiting for one counts as reading."""
        self.read_at = time.monotonic()
        message = await super().get()
        self.read_at = time.monotonic()
        self.size -= _weight(message)
        return message

    def put_nowait(self, item: EventMessage) -> None:
        """Add a message."""
        self.filled_at = time.monotonic()
        self.size += _weight(item)
        super().put_nowait(item)


def _weight(message: EventMessage) -> int:
    """Return the size of a message. It is measured once, when the message is put in."""
    known: int | None = message.__dict__.get("_bytes")
    if known is None:
        is_large = isinstance(message, ProcessCompletedMessage | ProcessGeneratingMessage)
        known = size_of(message.output) if is_large else 256  # type: ignore[union-attr]
        message.__dict__["_bytes"] = known
    return known


def _rows(event: Event) -> int:
    """Return how many places of the model's batch an event takes."""
    return ROWS.get(str(event.fn.name), 1)


class FairQueue(Queue):
    """The queue of one page."""

    def __init__(self, blocks: gr.Blocks, shares: Shares, pages: OpenPages, *, is_space: bool) -> None:
        super().__init__(
            live_updates=True,
            concurrency_count=WORKERS,
            update_intervals=1,
            max_size=None,  # `_refusal` has the limits
            blocks=blocks,
            default_concurrency_limit=CHEAP_LIMIT,
        )
        self._boxes: dict[str, Mailbox] = {}
        self.pending_messages_per_session = self._boxes  # type: ignore[assignment]  # `_tidy` has the limits
        self._shares, self._pages, self._is_space = shares, pages, is_space
        self._whose: WeakKeyDictionary[Event, Visitor] = WeakKeyDictionary()
        self._tidied = self._given_back = 0.0
        self._pace = Rate(PACE, PACE_SECONDS)

    def compute_analytics_summary(self, _records: Any) -> Any:
        """Return no figures: nobody reads them, and each would cost a table of the last 10,000 requests."""
        return self.cached_event_analytics_summary

    # --- who may come in ------------------------------------------------------------------------------------

    async def push(self, body: "PredictBodyInternal", request: fastapi.Request, username: str | None) -> Any:
        """Take a request in, or refuse it with a sentence.

        The sentence reaches a page as any failure does. A caller without a page gets it with the HTTP status 429.
        """
        fn = self.blocks.fns.get(body.fn_index) if body.fn_index is not None else None
        if fn is None:
            return False, "There is no such callback. Reload the page.", "error"
        body.data = with_defaults(fn.inputs, body.data)
        address = address_of(request.client.host if request.client else None, request.headers, is_space=self._is_space)
        visitor = self._pages.visitor(address, body.session_hash)
        await self._keep_pace(visitor)
        await self._tidy()
        # only our own components send an event that is read: those of the framework hold anything
        wrong = strange(fn.inputs, body.data, body.event_data if fn.collects_event_data else None)
        refusal = wrong or self._refusal(fn, visitor)
        if refusal:
            await asyncio.sleep(REFUSED_SECONDS)
        if refusal and not visitor.session:
            raise fastapi.HTTPException(400 if wrong else 429, refusal)
        body.session_hash = body.session_hash or f"{LONE}{uuid.uuid4().hex}"
        self._boxes.setdefault(body.session_hash, Mailbox())
        if refusal:
            event = Event(body.session_hash, fn, request, username)
            self.pending_event_ids_session.setdefault(event.session_hash, set()).add(event._id)
            self._end(event, refusal)
            return True, event._id, "success"
        success, event_id, state = await super().push(body, request, username)
        if success and event_id in self.event_ids_to_events:
            self._whose[self.event_ids_to_events[str(event_id)]] = visitor
        return success, event_id, state

    async def _keep_pace(self, visitor: Visitor) -> None:
        """Wait until `visitor` may send again. Whoever sends no quicker than people do does not wait."""
        now = time.monotonic()
        wait = self._pace.wait(visitor, now)
        self._pace.spend(visitor, now + wait)
        if wait:
            await asyncio.sleep(wait)

    def _refusal(self, fn: "BlockFunction", visitor: Visitor) -> str:
        """Return why `visitor` cannot wait for `fn`, or nothing.

        A full line takes in somebody with fewer requests in it. Then its most frequent visitor loses the last one.
        """
        line = self.event_queue_per_concurrency_id.get(fn.concurrency_id)
        is_model = fn.concurrency_id == MODEL
        most = self._shares.waiting if is_model else CHEAP_WAITING
        own_most = self._shares.waiting_of_one if is_model else CHEAP_WAITING_OF_ONE
        waiting = Counter(self._visitor(event) for event in line.queue) if line else Counter()
        if waiting[visitor] >= own_most:
            return f"You have {waiting[visitor]} requests waiting already. Wait until one is answered, then send again."
        if line is None or len(line.queue) < most:
            return ""
        last = self._most_frequent(line, visitor)
        if last is None:
            return f"{len(line.queue)} requests of other visitors are waiting already. Try again in a minute."
        line.queue.remove(last)
        self._forget(last)
        self._end(last, "Others were waiting too, so this request gave up its place. Send it again in a minute.")
        return ""

    def _most_frequent(self, line: EventQueue, visitor: Visitor) -> Event | None:
        """Return the last event of the address, else of the visitor, that has more in the line than `visitor` would."""
        visitors = Counter(self._visitor(event) for event in line.queue)
        addresses = Counter(self._visitor(event).address for event in line.queue)
        address, most = addresses.most_common(1)[0]
        if most > addresses[visitor.address] + 1:
            visitors = Counter({one: count for one, count in visitors.items() if one.address == address})
        elif visitors.most_common(1)[0][1] <= visitors[visitor] + 1:
            return None
        heaviest = max(visitors.values())
        return next(event for event in reversed(line.queue) if visitors[self._visitor(event)] == heaviest)

    def _end(self, event: Event, sentence: str) -> None:
        """End an event with a sentence for the visitor."""
        output = error_payload(gr.Error(sentence, duration=8, print_exception=False), True)
        self.send_message(event, ProcessCompletedMessage(output=output, title="Error", success=False))

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Put a message into the mailbox of its session. One that is too large ends its event with a sentence."""
        if _weight(event_message) > REPLY_BYTES and len(event_message.model_dump_json()) > REPLY_BYTES:
            self._end(event, f"The answer has more than {REPLY_BYTES // MEGABYTE} MB, which is too much. Ask for less.")
            event.alive = False
            return
        super().send_message(event, event_message)

    # --- who is next ----------------------------------------------------------------------------------------

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return the event that is next: of a kind with a free place, the one whose visitor has least under way."""
        running = [event for job in self.active_jobs if job for event in job]
        if len(running) >= WORKERS:
            return None
        for concurrency_id, line in self.event_queue_per_concurrency_id.items():
            limit = line.concurrency_limit
            if line.queue and (limit is None or line.current_concurrency < limit):
                event = self._next(line, running)
                if event is not None:
                    line.queue.remove(event)
                    # the next search begins with another kind
                    self.event_queue_per_concurrency_id[concurrency_id] = self.event_queue_per_concurrency_id.pop(
                        concurrency_id
                    )
                    return [event], False, concurrency_id
        return None

    def _next(self, line: EventQueue, running: list[Event]) -> Event | None:
        places = line.concurrency_limit or WORKERS
        share, address_share = max(1, places // 2), max(1, places - 1)
        everywhere = Counter(self._visitor(event) for event in running)
        visitors, addresses = Counter[Visitor](), Counter[str]()
        for event in running:
            if event.concurrency_id == line.concurrency_id:
                visitors[self._visitor(event)] += _rows(event)
                addresses[self._visitor(event).address] += _rows(event)

        def has_room(event: Event) -> bool:
            visitor, rows = self._visitor(event), min(_rows(event), share)
            return (
                visitors.total() + rows <= places
                and visitors[visitor] + rows <= share
                and addresses[visitor.address] + rows <= address_share
                and everywhere[visitor] < WORKERS // 2
            )

        ready = filter(has_room, line.queue)

        def under_way(event: Event) -> tuple[int, int]:
            visitor = self._visitor(event)
            return addresses[visitor.address], visitors[visitor]

        return min(ready, key=under_way, default=None)  # of equals, who came first

    def _visitor(self, event: Event) -> Visitor:
        return self._whose.get(event, Visitor("", event.session_hash))

    # --- what is kept ---------------------------------------------------------------------------------------

    async def process_events(self, events: list[Event], batch: bool, begin_time: float, fn: "BlockFunction") -> None:
        """Run events, then forget what the framework would keep of them for as long as their sessions live."""
        try:
            await super().process_events(events, batch, begin_time, fn)
        finally:
            for event in events:
                self._forget(event)
            await self._tidy()

    def _forget(self, event: Event) -> None:
        """Drop an ended event, and the second copy of its values in the session: the page has them."""
        self.event_ids_to_events.pop(event._id, None)
        if event.session_hash.startswith(LONE):
            self._drop_state(event.session_hash)
        elif event.session_hash in self.blocks.state_holder:
            configs = self.blocks.state_holder.session_data[event.session_hash].config_values
            for block in (*event.fn.inputs, *event.fn.outputs):
                (configs.get(block._id) or {}).get("props", {}).pop("value", None)

    async def _tidy(self) -> None:
        """Drop what nobody fetches, by age and by size, and the sessions whose pages were closed longest ago."""
        now = time.monotonic()
        if now - self._tidied < TIDY_SECONDS:
            return
        self._tidied = now
        under_way = {event.session_hash for event in self.event_ids_to_events.values()}
        unread = [(name, box) for name, box in self._boxes.items() if not box.is_read]
        room = KEPT_BYTES
        for name, box in sorted(unread, key=lambda one: one[1].filled_at, reverse=True):
            room -= box.size
            if name in under_way:
                is_left = now - max(box.read_at, box.made_at) > UNREAD_SECONDS
            else:
                is_left = now - box.filled_at > KEPT_SECONDS or not self.pending_event_ids_session.get(name)
            if is_left or room < 0:
                await self._drop(name)
        closed = [
            name for name in self.blocks.state_holder.session_data if name not in self._pages and name not in under_way
        ]
        for name in closed[: max(0, len(closed) - CLOSED_SESSIONS)]:
            self._drop_state(name)
        if now - self._given_back > GIVE_BACK_SECONDS:
            self._given_back = now
            await run_sync(give_back)

    async def _drop(self, session: str) -> None:
        """Forget the messages of a session, take its requests out of the lines, and stop its runs."""
        self._boxes.pop(session, None)
        await self.clean_events(session_hash=session)
        self.pending_event_ids_session.pop(session, None)

    def _drop_state(self, session: str) -> None:
        """Forget the values of a session. Files that wait in one of them are deleted."""
        states = self.blocks.state_holder
        states.delete_state(session)
        with states.lock:
            states.session_data.pop(session, None)
            states.time_last_used.pop(session, None)
