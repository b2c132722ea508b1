"""Measure several visitors at once in one process, each with their own router: speed, mix-ups and lost votes.

Runs decode greedily in float32. A run among others must then give the same tokens and weights as the run alone. The
database is a new one in a temporary folder.
"""

import contextlib
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlmodel import select

from playground.bench.base import Tell
from playground.core.events import Event, Failed, RunStarted, TokenGenerated
from playground.core.preferences import Verdict
from playground.core.values import RunRequest, Sampling
from playground.errors import InvalidRequest, PlaygroundError
from playground.serving.runtime import Runtime
from playground.settings import Settings
from playground.store.database import Database
from playground.store.labels import create_comparison, vote
from playground.store.people import labeller
from playground.store.tables import LabelActRow

PROMPTS = (
    "Explain why the sky is blue.",
    "Write a short story about a lighthouse keeper and a lost ship.",
    "Tom has 3 boxes of 12 pencils and gives away 7. How many are left?",
    "What should I look at before I buy a used bicycle?",
    "Describe how bread is made, from flour to crust.",
    "Give me five ideas for a rainy Sunday with two children.",
    "Why do leaves change colour in autumn?",
    "Compare living in a village with living in a city.",
)
SAME_WEIGHTS = 0.01  # float32 rounds differently in a batch
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Told:
    """The outcome of a run: its id, token ids and (tokens, E) weights. `error` is empty when it went well."""

    run_id: str
    tokens: tuple[int, ...]
    weights: np.ndarray
    error: str

    def same(self, other: "Told") -> bool:
        """Return whether both runs gave the same tokens with the same weights."""
        alike = not (self.error or other.error) and self.tokens == other.tokens
        return alike and bool(np.abs(self.weights - other.weights).max() <= SAME_WEIGHTS)


def run(settings: Settings, tell: Tell, *, visitors: int, tokens: int, rounds: int, votes: int) -> dict[str, Any]:
    """Return the figures that `bench load` shows.

    In each round every visitor runs alone, then all run together. After the last round they run once more, and each
    votes `votes` times meanwhile. Raise NotReady when the models cannot be loaded, InvalidRequest when no router is
    ready.
    """
    with _own_runtime(settings) as runtime:
        requests = visits(runtime, visitors, tokens)
        ratios, alone, together = [], [], []
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}")
            began = time.perf_counter()
            single = [_visit(runtime, request, i) for i, request in enumerate(requests)]
            between = time.perf_counter()
            joint = _at_once([lambda i=i, r=r: _visit(runtime, r, i) for i, r in enumerate(requests)])  # type: ignore[misc]
            ended = time.perf_counter()
            ratios.append(_rate(joint, ended - between) / _rate(single, between - began))
            alone += single
            together += joint
        ballots = vote_while_running(runtime, requests, list(zip(alone, together, strict=True))[-visitors:], votes)
        everything = [*alone, *together, *ballots.pop("runs")]
        crossed = sum(not a.same(b) for a, b in zip(alone, together, strict=True) if not (a.error or b.error))
        return {
            "visitors": visitors,
            "routers": [request.router for request in requests],
            "requests": len(everything),
            "errors": sum(bool(told.error) for told in everything),
            "crossed": crossed,
            "throughput_ratio": round(float(np.median(ratios)), 3),
            "tokens": tokens,
            "rounds": rounds,
            **ballots,
            "peak_mb": round(_peak_mb(), 1),
        }


@contextlib.contextmanager
def _own_runtime(settings: Settings) -> Iterator[Runtime]:
    """Yield a runtime in float32 on its own database. Close it and delete the database on leaving."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"dtype": "float32", "data_dir": Path(folder), "database_url": ""}
        runtime = Runtime(settings.model_copy(update=own))
        try:
            runtime.start()
            runtime.wait()
            yield runtime
        finally:
            runtime.close()
            runtime.database.close()


def visits(runtime: Runtime, count: int, tokens: int) -> list[RunRequest]:
    """Return one greedy request for each visitor: the ready routers in turn, over the experts that can be mixed."""
    routers = [info.name for info in runtime.routers() if info.ready]
    if not routers:
        raise InvalidRequest("No router is ready.", "Fit a router first.")
    pool = tuple(expert.name for expert in runtime.pool.experts if expert.ready and expert.is_mixable)
    sampling = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=tokens)
    return [
        RunRequest(PROMPTS[i % len(PROMPTS)], routers[i % len(routers)], pool=pool, sampling=sampling)
        for i in range(count)
    ]


def vote_while_running(
    runtime: Runtime, requests: Sequence[RunRequest], runs: Sequence[tuple[Told, Told]], votes: int
) -> dict[str, Any]:
    """Run and vote for all visitors at once, and return the counts.

    Each visitor judges its own two runs as `votes` labellers, one after the other.
    """
    comparisons = []
    for first, second in runs:
        if not (first.error or second.error):
            with runtime.database.write() as session:
                comparisons.append(
                    create_comparison(
                        session,
                        first.run_id,
                        second.run_id,
                        selection="manual",
                        pair_propensity=None,
                        left_run=first.run_id,
                    )
                )

    def poll(comparison: str) -> list[tuple[str, float]]:
        return [_vote(runtime.database, comparison, f"{comparison}-{number}") for number in range(votes)]

    visiting: list[Callable[[], Any]] = [lambda i=i, r=r: _visit(runtime, r, i) for i, r in enumerate(requests)]  # type: ignore[misc]
    polling: list[Callable[[], Any]] = [lambda c=c: poll(c) for c in comparisons]  # type: ignore[misc]
    done = _at_once([*visiting, *polling])
    ballots = [ballot for polled in done[len(visiting) :] for ballot in polled]
    acknowledged = {label for label, _ in ballots if label}
    reopened = Database.of(runtime.settings)
    with reopened.read() as session:
        stored = set(session.exec(select(LabelActRow.id)).all())
    reopened.close()
    times = [seconds for _, seconds in ballots]
    return {
        "votes_sent": len(ballots),
        "votes_acknowledged": len(acknowledged),
        "votes_lost": len(acknowledged - stored),
        "vote_p95_ms": round(1000 * float(np.quantile(times, 0.95)), 1) if times else None,
        "runs": done[: len(visiting)],
    }


def _vote(database: Database, comparison: str, who: str) -> tuple[str, float]:
    """Return (label id, seconds) of one vote. The id is empty when the vote was refused."""
    began = time.perf_counter()
    try:
        with database.write() as session:
            person = labeller(session, who)
            label = vote(session, comparison, Verdict.of("a", None), labeller_id=person, client_token=who)
    except PlaygroundError:
        label = ""
    return label, time.perf_counter() - began


def _visit(runtime: Runtime, request: RunRequest, number: int) -> Told:
    """Return the outcome of one run, stored as the page stores it."""
    try:
        return told(runtime.run(request, session_id=f"visitor {number}"))
    except PlaygroundError as error:
        return Told("", (), np.zeros((0, 0)), error.message)


def told(events: Iterator[Event]) -> Told:
    """Return the outcome of the run with these events."""
    run_id, error = "", ""
    tokens: list[TokenGenerated] = []
    for event in events:
        if isinstance(event, RunStarted):
            run_id = event.run_id
        elif isinstance(event, TokenGenerated):
            tokens.append(event)
        elif isinstance(event, Failed):
            error = event.message
    weights = np.stack([token.weights for token in tokens]) if tokens else np.zeros((1, 1))
    return Told(run_id, tuple(token.token_id for token in tokens), weights, error)


def _at_once(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Return the results of `functions`, each in a thread of its own, all started at the same moment."""
    gate = threading.Barrier(len(functions))

    def start(function: Callable[[], T]) -> T:
        gate.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as threads:
        return list(threads.map(start, functions))


def _rate(runs: Sequence[Told], seconds: float) -> float:
    return sum(len(told.tokens) for told in runs) / seconds


def _peak_mb() -> float:
    """Return the most memory this process has held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
