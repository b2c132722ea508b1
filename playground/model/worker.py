"""Run the one thread that owns the model. Jobs join its batch; every token goes to the queue of its own job.

The runs of several visitors decode together. Each job has its own row, queue and stop, and sees nothing of the others.
What takes long (a prompt, the attention of a stored run) is read in pieces, between the tokens of the runs under way.
While runs decode, they have about two thirds of the time. What breaks ends its own job. If the thread itself breaks,
its jobs end with a message and it begins anew.

Only this thread computes with several processors. With more OpenMP threads than processors, the barriers of the
library sleep instead of spinning, for as long as any of those threads lives. See
docs/decisions/one-thread-with-processors.md.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from playground.errors import NotReady
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Joining, Row, Seen, Step
from playground.model.texts import TextStream

log = logging.getLogger(__name__)
T = TypeVar("T")
RESTACK_SECONDS = 600.0
MOST_TASKS = 24  # texts that are read, or wait for it, at once
DECODING = 2.0  # seconds of decoding for each second of reading, while runs decode
SHORT = 64  # tokens of a text that is read at once, whatever is owed to decoding
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


@dataclass(eq=False)
class Reading(Generic[T]):
    """Hold work that is done in pieces: a generator that yields how many tokens are left. Its result goes to `future`.

    `cancelled` ends it before its next piece.
    """

    work: Generator[int, None, T]
    future: Future[T] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)
    left: int = 0

    def advance(self) -> bool:
        """Do the next piece. Return whether the task is over."""
        try:
            if not self.cancelled.is_set():
                self.left = next(self.work)
                return False
            self.work.close()
            self.future.cancel()
        except StopIteration as ended:
            self.future.set_result(ended.value)
        except Exception as error:  # noqa: BLE001  told to whoever waits for the result
            self.future.set_exception(error)
        return True


class Decoder:
    """Own the thread of the model. `submit` jobs, `call` a function between two tokens, or let it `read` in pieces.

    `threads` is how many processors it may use, 0 for all. The thread that makes the decoder, and later threads, then
    have one. `restarts` counts how often the thread began anew after an error of its own.
    """

    def __init__(
        self, base: LanguageModel, bank: Bank, *, max_batch: int = 8, max_queue: int = 32, threads: int = 0
    ) -> None:
        self.base = base
        self.bank = bank
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.restarts = 0
        self._begin()
        self._waiting: list[Job] = []
        self._asked: list[Reading[Any]] = []
        self._calls: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="model", daemon=True)
        self._thread.start()
        self.call(lambda: _use_processors(threads or PROCESSORS))
        torch.set_num_threads(1)  # threads that begin later have this number too

    def _begin(self) -> None:
        """Begin with nothing under way."""
        self._batch = Batch(self.base, self.bank)
        self._jobs: dict[Row, Job] = {}
        self._reading: dict[Reading[Joining], Job] = {}
        self._tasks: list[Reading[Any]] = []
        self._owed = 0.0  # seconds that decoding must have before the next piece of a task
        self._turn = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs that should start together. Raise NotReady when too many wait."""
        with self._wake:
            if len(self._waiting) + len(jobs) > self.max_queue:
                raise NotReady(f"{len(self._waiting)} runs are waiting already.", "Try again in a minute.")
            if self._closed:
                raise _stopping()
            self._waiting += jobs
            self._wake.notify()

    def call(self, function: Callable[[], T], timeout: float = 120.0) -> T:
        """Run `function()` in the model's thread between two tokens. Return its result or raise its exception.

        Raise NotReady when it has not begun after `timeout` seconds. It is not run later then.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise _stopping()
            self._calls.append((function, future))
            self._wake.notify()
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.cancel():
                raise NotReady("The model is busy.", "Try again in a minute.") from None
            return future.result()  # it has begun

    def read(self, work: Generator[int, None, T], cancelled: threading.Event | None = None) -> T:
        """Do `work` in the model's thread, a piece at a time between the tokens of runs. Return its result.

        Raise NotReady when too much waits, or when `cancelled` was set before the work was done.
        """
        task = Reading(work, cancelled=cancelled or threading.Event())
        with self._wake:
            if len(self._asked) + len(self._tasks) >= MOST_TASKS:
                raise NotReady("The model is reading other texts already.", "Try again in a minute.")
            if self._closed:
                raise _stopping()
            self._asked.append(task)
            self._wake.notify()
        try:
            return task.future.result()
        except CancelledError:
            raise NotReady("This was stopped before it was done.", "Ask for it again.") from None

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
            if names[: len(self.bank)] != self.bank.names and (self._jobs or self._reading or self._waiting):
                raise NotReady("A run that may use this expert is under way.", "Try again when it has ended.")
            self.bank.stack(adapters)

        self.call(change, RESTACK_SECONDS)

    def close(self) -> None:
        """End the thread after the token under way. What it had to do ends with a message."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=30)
        self._end_all(_stopping())

    # --- in the model's thread ------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._closed:
            try:
                self._serve()
            except Exception as error:
                log.exception("the model's thread broke and begins anew")
                self.restarts += 1
                self._end_all(error)
                self._begin()

    def _end_all(self, error: Exception) -> None:
        """End everything under way, and what waits when the decoder is closed, with `error`."""
        jobs = [*self._jobs.values(), *self._reading.values()]
        tasks = [*self._tasks]
        with self._wake:
            if self._closed:
                jobs, self._waiting = jobs + self._waiting, []
                tasks, self._asked = tasks + self._asked, []
                calls, self._calls = self._calls, []
                for _, future in calls:
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error)
        for job in jobs:
            job.out.put(JobBroke(job.key, error))
        for task in tasks:
            if not task.future.done():
                task.future.set_exception(error)

    def _serve(self) -> None:
        """Do what there is to do between two tokens, then one token of every run, until the decoder is closed."""
        while True:
            with self._wake:
                while not (self._waiting or self._calls or self._asked or self._tasks or self._jobs or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
                calls, self._calls = self._calls, []
                self._tasks += self._asked
                self._asked = []
                room = self.max_batch - len(self._jobs) - len(self._reading)
                joining, self._waiting = self._waiting[:room], self._waiting[room:]
            for function, future in calls:
                _resolve(future, function)
            for job in joining:
                self._begin_reading(job)
            self._work()
            self._decode()

    def _begin_reading(self, job: Job) -> None:
        """Let the prompt of `job` be read."""
        if job.cancelled.is_set():
            return
        if not self.knows(job.experts):
            job.out.put(JobBroke(job.key, NotReady("An expert was removed just now.", "Send the prompt again.")))
            return
        task = Reading(self._batch.read(job.row), cancelled=job.cancelled, left=len(job.row.ids))
        self._reading[task] = job
        self._tasks.append(task)

    def _work(self) -> None:
        """Do pieces of the tasks. While runs decode, they get twice the time that the tasks had."""
        while self._tasks:
            # the shortest first, so that a short prompt need not wait for a long one; every other time the oldest
            self._turn += 1
            task = min(self._tasks, key=lambda task: task.left)
            if self._owed > 0 and task.left > SHORT:
                return
            if self._owed <= 0 and self._turn % 2:
                task = self._tasks[0]
            began = time.monotonic()
            if task.advance():
                self._tasks.remove(task)
                job = self._reading.pop(task, None)
                if job is not None:
                    self._join(job, task.future)
            if self._jobs:
                self._owed += DECODING * (time.monotonic() - began)
            if self._owed > 0 or self._calls or self._asked or self._waiting or self._closed:
                return

    def _join(self, job: Job, future: "Future[Joining]") -> None:
        """Add the run whose prompt was read, or say what broke it."""
        if future.cancelled():
            return
        try:
            joining = future.result()
            self._batch.admit(joining)
        except Exception as error:
            log.exception("prompt could not be read run=%s", job.key)
            job.out.put(JobBroke(job.key, error))
            return
        self._jobs[job.row] = job
        job.out.put(PromptSeen(job.key, joining.seen))
        self._deliver(job, joining.step)

    def _decode(self) -> None:
        """Make one token of every run under way."""
        for row, job in list(self._jobs.items()):
            if job.cancelled.is_set():
                del self._jobs[row]
        for row in [row for row in self._batch.rows if row not in self._jobs]:
            try:
                self._batch.leave(row)
            except Exception:
                log.exception("a row could not leave")  # it stays, unread, and is tried again before the next token
        if not self._jobs:
            self._owed = 0.0
            return
        began = time.monotonic()
        rows = list(self._batch.rows)
        for row, step in zip(rows, self._batch.advance(), strict=True):
            if row in self._jobs:
                self._deliver(self._jobs[row], step)
        self._owed = max(0.0, self._owed - (time.monotonic() - began))

    def _deliver(self, job: Job, step: Step | Exception) -> None:
        """Send a token to its job. The row leaves before the next token when it was the last, or when it broke."""
        try:
            message: JobBroke | TokenMade = JobBroke(job.key, step) if isinstance(step, Exception) else job.take(step)
        except Exception as error:
            log.exception("a token could not be told run=%s", job.key)
            message = JobBroke(job.key, error)
        job.out.put(message)
        if isinstance(message, JobBroke) or message.reason:
            del self._jobs[job.row]


def _use_processors(count: int) -> None:
    """Let this thread compute with `count` processors.

    It asks for the number first. Otherwise the library would set its default later, over what is set here.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


def _stopping() -> NotReady:
    return NotReady("The playground is stopping.", "Try again when it has started.")


def _resolve(future: "Future[Any]", function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:  # noqa: BLE001  passed to the caller, which raises it
        future.set_exception(error)
