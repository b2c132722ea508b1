"""A process for work that must be stoppable. It starts with the first call, is reused, and is killed at its time limit.

A thread cannot be stopped from outside, and a big power can hold the interpreter for minutes. A process can be killed.
It speaks JSON lines, so nothing is unpickled. It knows nothing of what it runs: a call names `module:function`.
"""

import atexit
import importlib
import json
import logging
import queue
import subprocess
import sys
import threading
import traceback
from functools import lru_cache
from typing import IO, Any

from playground.errors import PlaygroundError
from playground.settings import ROOT

START_LIMIT_S = 60.0  # sympy's import takes 1 s on an idle machine, several on a busy one
MEMORY_BYTES = 2 * 1024**3
MODULE = "playground.experts.tools.worker"

log = logging.getLogger(__name__)


class TookTooLong(PlaygroundError):
    """The work was stopped at its time limit."""

    status = 400


class WorkerBroke(PlaygroundError):
    """The work or its process broke. The next call gets a fresh process."""


class Worker:
    """One process that does one call at a time. Threads may share it: they wait for one another."""

    def __init__(self, limit_s: float = 2.0) -> None:
        self.limit_s = limit_s
        self._calling = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._prepared: set[str] = set()
        atexit.register(self.stop)

    @property
    def pid(self) -> int | None:
        """Return the process's id, or None while there is no process."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def call(self, target: str, payload: Any) -> Any:
        """Return what `module:function` makes of the JSON value `payload`.

        Raise TookTooLong after `limit_s`; starting and importing do not count. Raise WorkerBroke when the function
        raised or the process died.
        """
        with self._calling:
            if self.pid is None:
                self._start()
            if target not in self._prepared:
                self._ask({"prepare": target}, START_LIMIT_S)
                self._prepared.add(target)
            return self._ask({"call": target, "payload": payload}, self.limit_s)

    def stop(self) -> None:
        """Kill the process if there is one."""
        process, self._process = self._process, None
        self._prepared.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    log.debug("event=worker_pipe_was_closed")

    def _start(self) -> None:
        self.stop()
        # multiprocessing would import the page's main module into the child, so this is a plain subprocess
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._process, self._answers = process, queue.SimpleQueue()
        threading.Thread(target=_pump, args=(process.stdout, self._answers), daemon=True, name="tool-worker").start()

    def _ask(self, question: dict[str, Any], limit_s: float) -> Any:
        process = self._process
        if process is None or process.stdin is None:
            raise WorkerBroke("The tool's process is not running.", "Try again.")
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=limit_s)
        except queue.Empty:
            self.stop()
            raise TookTooLong(
                f"This took longer than {limit_s:g} s and was stopped.", "Ask for less at once."
            ) from None
        except OSError as error:
            self.stop()
            raise WorkerBroke("The tool's process ended unexpectedly.", "Try again.") from error
        if line is None:
            self.stop()
            raise WorkerBroke("The tool's process ended unexpectedly.", "Try again.")
        answer = json.loads(line)
        if "error" in answer:
            log.error(
                "event=tool_failed target=%s\n%s", question.get("call") or question.get("prepare"), answer["error"]
            )
            raise WorkerBroke("The tool could not work this out.", "Put it differently.")
        return answer["value"]


@lru_cache(maxsize=1)
def shared_worker() -> Worker:
    """Return the one worker that all tools of this process share. Its process starts with the first call."""
    return Worker()


def _pump(stream: IO[str] | None, answers: "queue.SimpleQueue[str | None]") -> None:
    """Move the child's lines into `answers`. None marks its end. Works on every system; select on pipes does not."""
    if stream is not None:
        try:
            for line in stream:
                answers.put(line)
        except (OSError, ValueError):
            log.debug("event=worker_pipe_closed")
    answers.put(None)


def _find(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _limit_memory() -> None:
    try:
        import resource  # noqa: PLC0415  not on every system
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError):
        return  # macOS refuses it; the time limit still holds


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer JSON lines until `questions` ends. The child runs this, and ends when its parent closes the pipe."""
    for line in questions:
        question = json.loads(line)
        try:
            function = _find(question.get("call") or question["prepare"])
            answer = {"value": function(question["payload"]) if "call" in question else None}
            text = json.dumps(answer)
        except Exception:  # noqa: BLE001  the edge around a tool: its error goes to the parent's log
            text = json.dumps({"error": traceback.format_exc()})
        answers.write(text + "\n")
        answers.flush()


if __name__ == "__main__":
    _limit_memory()
    serve(sys.stdin, sys.stdout)
