"""The model's thread: it computes with several processors, reads in pieces, and what breaks ends its own job only."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import torch

from playground.core.values import Observe, Sampling
from playground.errors import NotReady, PlaygroundError
from playground.model import decode, reading, routing
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row
from playground.model.routing import RowRouting
from playground.model.sampling import Sampler
from playground.model.worker import Decoder, Job, JobBroke, Message, PromptSeen, TextStream, TokenMade
from playground.routers.base import GateRun
from playground.routers.parts import LinearGate

GREEDY = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=12)
WAIT_S = 60


class Boom(Exception):
    """What the tests throw."""


@pytest.fixture
def decoder(tiny_base: LanguageModel, bank: Bank) -> Iterator[Decoder]:
    before = torch.get_num_threads()
    made = Decoder(tiny_base, bank, threads=1)
    yield made
    made.close()
    torch.set_num_threads(before)


def job_of(
    base: LanguageModel, key: str, prompt: str, *, sampling: Sampling = GREEDY, route: RowRouting | None = None
) -> Job:
    """Return a job that observes a head, with messages of its own."""
    row = Row(
        base.chat_ids(prompt),
        route or RowRouting(constant=torch.tensor([0.5, 0.5, 0.0, 0.0])),
        Sampler(sampling, base.vocabulary),
        Observe(1, 2),
    )
    return Job(key, row, 12, frozenset(), (), TextStream(base.tokenizer), queue.SimpleQueue())


def ended(job: Job) -> tuple[list[int], Exception | None]:
    """Return the tokens of a job, and what broke it."""
    tokens: list[int] = []
    while True:
        message: Message = job.out.get(timeout=WAIT_S)
        if isinstance(message, JobBroke):
            return tokens, message.error
        if isinstance(message, TokenMade):
            tokens.append(message.step.drawn.token_id)
            if message.reason:
                return tokens, None


def alone(decoder: Decoder, prompt: str) -> list[int]:
    job = job_of(decoder.base, "alone", prompt)
    decoder.submit([job])
    return ended(job)[0]


def test_only_the_models_thread_has_several_processors(tiny_base: LanguageModel) -> None:
    before = torch.get_num_threads()
    decoder = Decoder(tiny_base, Bank(tiny_base.model), threads=3)
    try:

        def seen_elsewhere() -> int:
            counts: list[int] = []
            thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
            thread.start()
            thread.join()
            return counts[0]

        assert decoder.call(torch.get_num_threads) == 3
        assert torch.get_num_threads() == 1
        assert seen_elsewhere() == 1
        assert decoder.call(torch.get_num_threads) == 3  # what others are given is not given to it
    finally:
        decoder.close()
        torch.set_num_threads(before)


# --- what breaks ends its own job -------------------------------------------------------------------------------


def broken_draw(monkeypatch: pytest.MonkeyPatch, row: Row, after: int) -> None:
    calls = itertools.count()

    def draw(logits: Any, forced: int | None = None) -> Any:
        if next(calls) >= after:
            raise Boom
        return type(row.sampler).draw(row.sampler, logits, forced)

    monkeypatch.setattr(row.sampler, "draw", draw, raising=False)


def broken_observation(monkeypatch: pytest.MonkeyPatch, row: Row, after: int) -> None:
    """The head that is observed is none: the pass breaks where the attention is kept."""
    row.observe = Observe(1, 99)


def broken_gate(monkeypatch: pytest.MonkeyPatch, row: Row, after: int) -> None:
    """A gate that raises, or sees what it should not, in one layer of one pass."""

    class Breaking(LinearGate):
        calls = 0

        def weights(self, layer: int, hidden: Any, runs: Any) -> Any:
            self.calls += 1
            if self.calls > 2 * after + 1:
                raise Boom
            return super().weights(layer, hidden, runs)

    gate = Breaking(("base", "one", "two", "three"), 2, 48, top_k=3, temperature=1.0).requires_grad_(False)
    row.routing = RowRouting(gate=gate, run=GateRun(len(row.ids)))


BREAKERS = {"draw": broken_draw, "observe": broken_observation, "gate": broken_gate}


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("where", BREAKERS)
def test_a_broken_run_ends_alone_a_hundred_times_over(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, where: str, after: int
) -> None:
    expected = alone(decoder, "a good neighbour")
    for turn in range(12):  # nine cases of twelve: 108
        good, bad = job_of(decoder.base, "good", "a good neighbour"), job_of(decoder.base, "bad", "bad")
        BREAKERS[where](monkeypatch, bad.row, after)
        decoder.submit([good, bad] if turn % 2 else [bad, good])
        assert isinstance(ended(bad)[1], Exception)
        assert ended(good) == (expected, None)
    assert decoder.restarts == 0


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Callable[[], None]], None]] = {
    "read": lambda patch, boom: patch.setattr(decode, "forward", before(boom, decode.forward)),
    "pass": lambda patch, boom: patch.setattr(routing.Routing, "decide", before(boom, routing.Routing.decide)),
    "admit": lambda patch, boom: patch.setattr(Batch, "admit", before(boom, Batch.admit)),
    "merge": lambda patch, boom: patch.setattr(reading.KeyValues, "merge", before(boom, reading.KeyValues.merge)),
    "leave": lambda patch, boom: patch.setattr(Batch, "leave", before(boom, Batch.leave)),
    "keep": lambda patch, boom: patch.setattr(reading.KeyValues, "keep", before(boom, reading.KeyValues.keep)),
    "step": lambda patch, boom: patch.setattr(Batch, "advance", before(boom, Batch.advance)),
    "take": lambda patch, boom: patch.setattr(Job, "take", before(boom, Job.take)),
}


def before(boom: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, with `boom()` called before it."""

    def called(*arguments: Any, **named: Any) -> Any:
        boom()
        return function(*arguments, **named)

    return called


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("where", STEPS)
def test_the_next_run_works_whatever_broke_before(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, where: str, at: int
) -> None:
    """An error that belongs to no run may end those under way. It never hangs one, and never reaches the next."""
    expected = {prompt: alone(decoder, prompt) for prompt in ("one", "another prompt")}
    for _ in range(4):
        calls = itertools.count()

        def boom(calls: Iterator[int] = calls) -> None:
            if next(calls) == at:
                raise Boom

        with monkeypatch.context() as patch:
            STEPS[where](patch, boom)
            jobs = [job_of(decoder.base, prompt, prompt) for prompt in expected]
            decoder.submit(jobs)
            for job in jobs:
                tokens, error = ended(job)
                assert error is not None or tokens == expected[job.key]
                if where in ("leave", "keep"):
                    assert error is None, "who leaves has ended already"
        assert {prompt: alone(decoder, prompt) for prompt in expected} == expected


def test_a_thread_that_breaks_begins_anew_and_counts_it(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "_decode", lambda self: (_ for _ in ()).throw(Boom()))
        job = job_of(decoder.base, "one", "one")
        decoder.submit([job])
        assert isinstance(ended(job)[1], Boom)
    assert decoder.restarts >= 1
    assert len(alone(decoder, "one")) == 12


@pytest.mark.parametrize("temperature", [1e-45, 1e-39, 1e-12, 1e-4])
def test_a_tiny_temperature_is_greedy(decoder: Decoder, temperature: float) -> None:
    job = job_of(decoder.base, "one", "one", sampling=Sampling(temperature=temperature, repetition_penalty=1.0))
    decoder.submit([job])
    assert ended(job) == (alone(decoder, "one"), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_end_the_run_with_a_message(value: float) -> None:
    logits = torch.zeros(512)
    logits[7] = value
    if value == float("-inf"):
        logits[:] = value
    with pytest.raises(PlaygroundError, match="not numbers"):
        Sampler(GREEDY, 512).draw(logits)


# --- reading in pieces ------------------------------------------------------------------------------------------


def test_runs_go_on_while_a_long_text_is_read(decoder: Decoder) -> None:
    """Between two pieces of the text every run makes a token, and both end as they would alone."""
    expected = alone(decoder, "one")
    seen: list[str] = []
    job = job_of(decoder.base, "one", "one")

    def work() -> Generator[int, None, str]:
        for left in range(40, 0, -1):
            seen.append("piece")
            time.sleep(0.002)
            yield left
        return "done"

    decoder.call(lambda: decoder.submit([job]))
    assert decoder.read(work()) == "done"
    assert ended(job) == (expected, None)
    assert len(seen) == 40


def test_a_short_text_need_not_wait_for_a_long_one(decoder: Decoder) -> None:
    order: list[str] = []

    def work(name: str, pieces: int) -> Generator[int]:
        for left in range(pieces, 0, -1):
            order.append(name)
            time.sleep(0.001)
            yield left

    threads = [
        threading.Thread(target=decoder.read, args=(work(name, pieces),)) for name, pieces in (("a", 50), ("b", 3))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order.index("b") < 50
    assert len(order) - 1 - order[::-1].index("b") < len(order) - 20


def test_reading_ends_before_its_next_piece_when_it_is_cancelled(decoder: Decoder) -> None:
    cancelled, pieces = threading.Event(), itertools.count()

    def work() -> Generator[int]:
        while True:
            if next(pieces) == 3:
                cancelled.set()
            yield 1

    with pytest.raises(NotReady):
        decoder.read(work(), cancelled)
    assert next(pieces) == 4


def test_what_breaks_while_reading_reaches_the_one_who_asked(decoder: Decoder) -> None:
    def work() -> Generator[int]:
        yield 1
        raise Boom

    with pytest.raises(Boom):
        decoder.read(work())
    assert len(alone(decoder, "one")) == 12


def test_a_run_whose_reader_has_left_is_not_read_to_the_end(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal read
        read += 1
        job.cancelled.set()
        return routing.forward(*arguments, **named)

    monkeypatch.setattr(reading, "forward", counted)
    job = job_of(decoder.base, "long", "word " * 90)
    monkeypatch.setattr(reading, "piece_of", lambda *_: 8)
    decoder.submit([job])
    decoder.call(lambda: None)
    assert len(alone(decoder, "one")) == 12
    assert read < 10
    assert job.out.empty()


def test_closing_tells_everybody_who_waits(tiny_base: LanguageModel, bank: Bank) -> None:
    before = torch.get_num_threads()
    decoder = Decoder(tiny_base, bank, max_batch=1, threads=1)
    torch.set_num_threads(before)
    jobs = [job_of(tiny_base, str(i), "one") for i in range(3)]
    for job in jobs:
        job.limit = 10_000
    decoder.submit(jobs)
    assert isinstance(jobs[0].out.get(timeout=WAIT_S), PromptSeen)
    decoder.close()
    for job in jobs:
        assert isinstance(ended(job)[1], NotReady)
    with pytest.raises(NotReady):
        decoder.submit(jobs)
    with pytest.raises(NotReady):
        decoder.call(lambda: None)
