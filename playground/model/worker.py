"""Run the one thread that owns the model. Jobs join its batch; every token goes to the queue of its own job.

The runs of several visitors decode together. Each job has its own row, queue and stop, and sees nothing of the others.

Only this thread computes with several processors. With more OpenMP threads than processors, the barriers of the
library sleep instead of spinning, for as long as any of those threads lives. See
docs/decisions/one-thread-with-processors.md.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from playground.errors import NotReady
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row, Seen, Step
from playground.model.texts import TextStream

log = logging.getLogger(__name__)
T = TypeVar("T")
RESTACK_SECONDS = 600.0
PROCESSORS = torch.get_num_threads()  # the library's own number, before anything here changes it


@dataclass(frozen=True, eq=False)
class PromptSeen:
    """Report that the prompt of job `key` was read."""

    key: str
    seen: Seen


@dataclass(frozen=True, eq=False)
class TokenMade:
    """Report a token of job `key`: its step, the text it completes, and the reason if it is the last."""

    key: str
    step: Step
    text: str
    reason: str | None


@dataclass(frozen=True, eq=False)
class JobBroke:
    """Report that an error of the model ended job `key`."""

    key: str
    error: Exception


Message = PromptSeen | TokenMade | JobBroke


@dataclass(eq=False)
class Job:
    """Hold one run for the decoder: its row, when to stop, and where messages go. Set `cancelled` to end it.

    `experts` are the experts of the bank when the row's weights were made. It is empty for a row that fits any bank.
    """

    key: str
    row: Row
    limit: int
    end_ids: frozenset[int]
    stop: tuple[str, ...]
    stream: TextStream
    out: "queue.SimpleQueue[Message]"
    cancelled: threading.Event = field(default_factory=threading.Event)
    experts: tuple[str, ...] = ()
    made: int = 0

    def take(self, step: Step) -> TokenMade:
        """Return the message for `step`, with the reason when it is the last."""
        self.made += 1
        token = step.drawn.token_id
        ended = token in self.end_ids
        text = "" if ended else self.stream.push(token)
        reason: str | None = None
        if ended or any(mark in self.stream.text for mark in self.stop):
            reason = "stop"
        elif self.made >= self.limit:
            reason = "length"
        return TokenMade(self.key, step, text, reason)


class Decoder:
    """Own the thread of the model. `submit` jobs, or `call` a function between two tokens.

    `threads` is how many processors it may use, 0 for all. The thread that makes the decoder, and later threads, then
    have one.
    """

    def __init__(
        self, base: LanguageModel, bank: Bank, *, max_batch: int = 8, max_queue: int = 32, threads: int = 0
    ) -> None:
        self.base = base
        self.bank = bank
        self.max_batch = max_batch
        self.max_queue = max_queue
        self._jobs: list[Job] = []
        self._waiting: list[Job] = []
        self._calls: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="model", daemon=True)
        self._thread.start()
        self.call(lambda: _use_processors(threads or PROCESSORS))
        torch.set_num_threads(1)  # threads that begin later have this number too

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs that should start together. Raise NotReady when too many wait."""
        with self._wake:
            if len(self._waiting) + len(jobs) > self.max_queue:
                raise NotReady(f"{len(self._waiting)} runs are waiting already.", "Try again in a minute.")
            self._waiting += jobs
            self._wake.notify()

    def call(self, function: Callable[[], T], timeout: float = 120.0) -> T:
        """Run `function()` in the model's thread between two tokens. Return its result or raise its exception."""
        future: Future[T] = Future()
        with self._wake:
            self._calls.append((function, future))
            self._wake.notify()
        return future.result(timeout)

    def knows(self, experts: Sequence[str]) -> bool:
        """Return whether weights over `experts` still mean the same: the bank begins with them."""
        return self.bank.names[: len(experts)] == tuple(experts)

    def restack(self, adapters: Sequence[Adapter]) -> None:
        """Make `adapters` the experts of the bank between two tokens.

        Runs under way go on when experts only join at the end. Raise NotReady when an expert would lose its place
        while a run is under way or waits.
        """
        names = ("base", *(adapter.name for adapter in adapters))

        def change() -> None:
            if names[: len(self.bank)] != self.bank.names and (self._jobs or self._waiting):
                raise NotReady("A run that may use this expert is under way.", "Try again when it has ended.")
            self.bank.stack(adapters)

        self.call(change, RESTACK_SECONDS)

    def close(self) -> None:
        """End the thread after the token under way. Its jobs get no more messages."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=30)

    def _loop(self) -> None:
        batch = Batch(self.base, self.bank)
        jobs = self._jobs
        while True:
            with self._wake:
                while not (self._waiting or self._calls or jobs or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
                calls, self._calls = self._calls, []
            for function, future in calls:
                _resolve(future, function)
            with self._wake:
                room = self.max_batch - len(jobs)
                joining, self._waiting = self._waiting[:room], self._waiting[room:]
            for job in joining:
                self._join(batch, jobs, job)
            self._advance(batch, jobs)

    def _join(self, batch: Batch, jobs: list[Job], job: Job) -> None:
        if job.cancelled.is_set():
            return
        if not self.knows(job.experts):
            job.out.put(JobBroke(job.key, NotReady("An expert was removed just now.", "Send the prompt again.")))
            return
        try:
            seen, step = batch.join(job.row)
        except Exception as error:
            log.exception("prompt could not be read run=%s", job.key)
            job.out.put(JobBroke(job.key, error))
            return
        jobs.append(job)
        job.out.put(PromptSeen(job.key, seen))
        self._deliver(batch, jobs, job, step)

    def _advance(self, batch: Batch, jobs: list[Job]) -> None:
        for job in [job for job in jobs if job.cancelled.is_set()]:
            jobs.remove(job)
            batch.leave(job.row)
        if not jobs:
            return
        try:
            steps = batch.step()
        except Exception as error:
            log.exception("decoding broke runs=%s", len(jobs))
            for job in list(jobs):
                job.out.put(JobBroke(job.key, error))
                batch.leave(job.row)
            jobs.clear()
            return
        for job, step in zip(list(jobs), steps, strict=True):
            self._deliver(batch, jobs, job, step)

    @staticmethod
    def _deliver(batch: Batch, jobs: list[Job], job: Job, step: Step) -> None:
        message = job.take(step)
        job.out.put(message)
        if message.reason:
            jobs.remove(job)
            batch.leave(job.row)


def _use_processors(count: int) -> None:
    """Let this thread compute with `count` processors.

    It asks for the number first. Otherwise the library would set its default later, over what is set here.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


def _resolve(future: "Future[Any]", function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:  # noqa: BLE001  passed to the caller, which raises it
        future.set_exception(error)
