"""How the queue is shared out, who is refused and in which words, and what is forgotten."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import fastapi
import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal
from gradio.server_messages import ProcessCompletedMessage

from playground.ui import fair_queue
from playground.ui.fair_queue import KEPT_SECONDS, MODEL, READ_SECONDS, UNREAD_SECONDS, FairQueue, Shares, size_of
from playground.ui.visitors import OpenPages
from tests.loops import run_async
from tests.scripted import ScriptedRuntime

PLACES = 4
SHARES = Shares(waiting=6, waiting_of_one=3)


class Line:
    """A queue with a function for the model (0), a cheap one (1) and a pair (2). Nothing runs unless a test says so."""

    def __init__(self) -> None:
        def answer(text: str) -> str:
            return text

        def compare(text: str) -> str:
            return text

        self.pages = OpenPages()
        with gr.Blocks(analytics_enabled=False) as self.blocks:
            gr.api(answer, api_name="ask", concurrency_id=MODEL, concurrency_limit=PLACES)
            gr.api(answer, api_name="cheap")
            gr.api(compare, api_name="compare", concurrency_id=MODEL, concurrency_limit=PLACES)
        self.blocks.queue()
        self.queue = FairQueue(self.blocks, SHARES, self.pages, is_space=False)
        self.queue.active_jobs = [None] * 64
        self.queue.set_server_app(self.blocks.app)

    async def ask(self, address: str, session: str | None = None, *, fn: int = 0, event: Any = None) -> str:
        """Return the id of a new event."""
        request = fastapi.Request(
            {"type": "http", "client": (address, 1), "headers": [], "path": "/", "method": "POST"}
        )
        body = PredictBodyInternal(session_hash=session, data=["x"], fn_index=fn, event_data=event)
        _, found, _ = await self.queue.push(body, request, None)
        return str(found)

    def begin(self) -> str:
        """Let the next event run, and return its id. Empty when none may."""
        found = self.queue.get_events()
        if found is None:
            return ""
        events, _, name = found
        self.queue.active_jobs[self.queue.active_jobs.index(None)] = events
        self.queue.event_queue_per_concurrency_id[name].current_concurrency += 1
        return events[0]._id

    def told(self, session: str) -> list[str]:
        """Return the sentences that wait for a session."""
        box = self.queue._boxes[session]
        return [one.output["error"] for one in box._queue if isinstance(one, ProcessCompletedMessage)]  # type: ignore[attr-defined]


@pytest.fixture
def opened() -> Iterator[Callable[..., None]]:
    """Return what opens the page of a session for the rest of the test."""
    with ExitStack() as stack:
        yield lambda line, *sessions: [stack.enter_context(line.pages.held(one)) for one in sessions]  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _no_pause_before_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "REFUSED_SECONDS", 0.0)


def running(scene: Callable[[Line], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        return await scene(Line())

    return run_async(go())


def test_whoever_has_least_under_way_is_next(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[list[str], list[str]]:
        opened(line, "ann", "bob")
        asked = [await line.ask("1.1.1.1", "ann") for _ in range(3)]
        asked += [await line.ask("2.2.2.2", "bob"), await line.ask("3.3.3.3")]
        return asked, [line.begin() for _ in range(5)]

    (ann, again, third, bob, other), began = running(scene)
    assert began == [ann, bob, other, again, ""]  # ann has half of the places, so her third waits
    assert third


def test_sessions_without_a_page_share_the_place_of_their_address(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[str, list[str]]:
        opened(line, "ann")
        for number in range(3):
            await line.ask("1.1.1.1", f"made up {number}")
        ann = await line.ask("1.1.1.1", "ann")
        with pytest.raises(fastapi.HTTPException) as refused:
            await line.ask("1.1.1.1", "made up 4")
        assert refused.value.status_code == 429
        assert "3 requests waiting already" in str(refused.value.detail)
        return ann, [line.begin() for _ in range(4)]

    ann, began = running(scene)
    assert began.index(ann) == 1
    assert began[3] == ""


def test_a_pair_takes_two_places(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[list[str], list[str]]:
        opened(line, "ann", "bob", "eve")
        asked = [await line.ask("1.1.1.1", "ann", fn=2) for _ in range(2)]
        asked += [await line.ask("2.2.2.2", "bob", fn=2), await line.ask("3.3.3.3", "eve")]
        return asked, [line.begin() for _ in range(4)]

    (ann, _, bob, _), began = running(scene)
    assert began == [ann, bob, "", ""]  # the batch is full


def test_an_event_of_the_framework_may_hold_anything(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[list[str], int]:
        opened(line, "ann")
        await line.ask("1.1.1.1", "ann", event="label to look")  # what a text box sends
        return line.told("ann"), len(line.queue)

    assert running(scene) == ([], 1)


def test_a_page_is_refused_in_words_that_it_can_show(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> list[str]:
        opened(line, "ann")
        for _ in range(5):
            await line.ask("1.1.1.1", "ann")
        return line.told("ann")

    assert running(scene) == 2 * ["You have 3 requests waiting already. Wait until one is answered, then send again."]


def test_a_full_line_makes_room_for_somebody_with_less_in_it(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[list[str], list[str], int]:
        opened(line, "ann", "bob", "eve", "zoe", "kim", "jim")
        for name in ("ann", "bob"):
            for _ in range(3):
                await line.ask("1.1.1.1", name)
        for name in ("eve", "zoe", "kim", "jim"):
            await line.ask("1.1.1.1", name)
        await line.ask("1.1.1.1", "eve")
        return line.told("ann") + line.told("bob"), line.told("eve"), len(line.queue)

    gave_up, refused, waiting = running(scene)
    assert len(gave_up) == 4
    assert "gave up its place" in gave_up[0]
    assert "6 requests of other visitors are waiting already" in refused[0]
    assert waiting == SHARES.waiting


def test_many_pages_of_one_address_leave_room_for_another_address(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[str, list[str], str, list[str]]:
        names = [f"page {number}" for number in range(10)]
        opened(line, *names, "zoe")
        for name in names[:4]:
            await line.ask("1.1.1.1", name)
        began = [line.begin() for _ in range(4)]  # three: one place stays free for another address
        for name in names[4:]:
            await line.ask("1.1.1.1", name)
        zoe = await line.ask("2.2.2.2", "zoe")
        return began[3], [line.begin()], zoe, line.told(names[-2])

    none, then, zoe, gave_up = running(scene)
    assert none == ""
    assert then == [zoe]
    assert "gave up its place" in gave_up[0]


def test_a_full_line_for_the_model_does_not_hold_up_the_rest(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[str, list[str]]:
        for number in range(6):
            await line.ask(f"1.1.1.{number}")
        began = [line.begin() for _ in range(PLACES)]
        cheap = await line.ask("2.2.2.2", fn=1)
        return cheap, [*began, line.begin()]

    cheap, began = running(scene)
    assert began[-1] == cheap
    assert "" not in began


def test_whoever_sends_quicker_than_people_do_is_slowed_down(
    opened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "PACE", 3)
    monkeypatch.setattr(fair_queue, "PACE_SECONDS", 0.4)

    async def scene(line: Line) -> tuple[float, float]:
        opened(line, "ann", "bob")
        began = time.monotonic()
        for _ in range(7):
            await line.ask("1.1.1.1", "ann", fn=1)
        slow, began = time.monotonic() - began, time.monotonic()
        await line.ask("1.1.1.1", "bob", fn=1)
        return slow, time.monotonic() - began

    slow, quick = running(scene)
    assert slow > 0.6
    assert quick < 0.2


def test_a_refusal_comes_slowly(opened: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "REFUSED_SECONDS", 0.3)

    async def scene(line: Line) -> float:
        for _ in range(SHARES.waiting_of_one):
            await line.ask("1.1.1.1")
        began = time.monotonic()
        with pytest.raises(fastapi.HTTPException):
            await line.ask("1.1.1.1")
        return time.monotonic() - began

    assert running(scene) > 0.2


def test_an_unknown_callback_is_refused() -> None:
    async def scene(line: Line) -> str:
        return await line.ask("1.1.1.1", fn=99)

    assert "no such callback" in running(scene)


def older(line: Line, session: str, seconds: float) -> None:
    """Make the mailbox of a session that much older."""
    box = line.queue._boxes[session]
    box.made_at -= seconds
    box.filled_at -= seconds
    box.read_at -= seconds
    line.queue._tidied = 0.0


def test_a_run_that_nobody_reads_is_stopped(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[bool, bool, int]:
        await line.ask("1.1.1.1", "left")
        await line.ask("1.1.1.1", "left")
        line.begin()
        [event] = [job[0] for job in line.queue.active_jobs if job]
        older(line, "left", UNREAD_SECONDS - 5)
        await line.queue._tidy()
        before = event.alive
        older(line, "left", 10)
        await line.queue._tidy()
        return before, event.alive, len(line.queue)

    assert running(scene) == (True, False, 0)


def test_a_run_that_is_read_goes_on(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> bool:
        event = await line.ask("1.1.1.1", "ann")
        older(line, "ann", 10 * KEPT_SECONDS)
        await line.queue._boxes["ann"].get()  # the framework asks every ten seconds
        await line.queue._tidy()
        return event in line.queue.event_ids_to_events

    assert running(scene)


async def finished(line: Line, session: str, size: int = 100) -> None:
    """Leave an answer of `size` bytes for a session."""
    event = line.queue.event_ids_to_events[await line.ask(f"1.1.{len(session)}.1", session, fn=1)]
    await line.queue.remove_from_queue(event._id)
    line.queue._boxes[session].read_at = time.monotonic() - READ_SECONDS
    line.queue.send_message(event, ProcessCompletedMessage(output={"data": ["x" * size]}, success=True))


def test_answers_that_nobody_fetches_are_dropped_by_age_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> tuple[set[str], set[str], set[str]]:
        await finished(line, "old")
        await finished(line, "large", 50_000)
        await finished(line, "new", 50_000)
        older(line, "old", KEPT_SECONDS - 10)
        await line.queue._tidy()
        first = set(line.queue._boxes)
        older(line, "old", 20)
        await line.queue._tidy()
        second = set(line.queue._boxes)
        monkeypatch.setattr(fair_queue, "KEPT_BYTES", 80_000)
        older(line, "large", 1)
        await line.queue._tidy()
        return first, second, set(line.queue._boxes)

    first, second, third = running(scene)
    assert first == {"old", "large", "new"}
    assert second == {"large", "new"}
    assert third == {"new"}


def test_an_answer_that_is_too_large_is_replaced_by_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "REPLY_BYTES", 1000)

    async def scene(line: Line) -> list[str]:
        await finished(line, "ann", 2000)
        return line.told("ann")

    assert "Ask for less" in running(scene)[0]


def test_a_session_keeps_no_second_copy_of_what_it_was_sent(opened: Callable[..., None]) -> None:
    async def scene(line: Line) -> tuple[list[str], int]:
        opened(line, "ann")
        for session in ("ann", None):
            event = line.queue.event_ids_to_events[await line.ask("1.1.1.1", session)]
            event.alive = False  # so that nothing is computed; what it wrote stands in its session
            configs = line.blocks.state_holder[event.session_hash].config_values
            for block in (*event.fn.inputs, *event.fn.outputs):
                # a light session has no values of its own yet, see playground/ui/light_session.py
                configs.setdefault(block._id, {"props": {}})["props"]["value"] = "y" * 100_000
            line.begin()
            await line.queue.process_events([event], False, 0.0, event.fn)
        states = line.blocks.state_holder.session_data
        return list(states), size_of(states["ann"].config_values)

    sessions, size = running(scene)
    assert sessions == ["ann"]  # a call without a session leaves none
    assert size < 100_000


def test_sessions_of_closed_pages_are_forgotten_one_after_the_other(
    opened: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "CLOSED_SESSIONS", 2)

    async def scene(line: Line) -> list[str]:
        opened(line, "ann")
        for name in ("ann", "a", "b", "c", "d"):
            _ = line.blocks.state_holder[name]
        await line.queue._tidy()
        return list(line.blocks.state_holder.session_data)

    assert running(scene) == ["ann", "c", "d"]


def test_the_pairs_of_the_real_page_are_known_as_such(runtime: ScriptedRuntime) -> None:
    from playground.ui.page import build  # noqa: PLC0415  takes a second

    waiting = {fn.name for fn in build(runtime).fns.values() if fn.concurrency_id == MODEL}  # type: ignore[arg-type]
    assert set(fair_queue.ROWS) < waiting
    assert waiting == {"ask", "run", "again", "compare", "answer", "answer_again", "compare_next"}
