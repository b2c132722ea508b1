"""Compare: two runs of one prompt, shown blind, until somebody votes.

Names, weights, versions, times and run ids stay on the server until the vote, because they tell the sides apart.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.actions import pairing
from playground.actions.ask import LOAD_SECONDS, checked_prompt, known_router, noted, read_sampling, ready_names
from playground.core.events import Event, RunStarted
from playground.core.fold import ViewState, fold
from playground.core.values import RunRequest, Sampling
from playground.errors import InvalidRequest
from playground.store.labels import create_comparison
from playground.store.tables.columns import new_id
from playground.store.versions import versions_of

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

KEPT = 50  # of about 0.3 MB each; older ones are read again from the database when their visitor votes
RANDOM_PAIR, RANDOM_ROUTERS = "random", "random-router"
DRAWN = (RANDOM_PAIR, RANDOM_ROUTERS)
MOST_VERSIONS = 6  # of one router, in a menu
# warmer than a single run, so that the two answers differ; shorter, so that both are read
DEFAULTS = Sampling(temperature=0.7, top_p=0.95, max_new_tokens=96)
LEAST_LETTERS = 20  # before an answer can be judged


@dataclass(eq=False)
class OpenComparison:
    """Hold two runs of one prompt. `requests[0]` and `states[0]` are shown left as A.

    A vote sets `voted`. A page that shows something else sets `left`. `done` is set when the runs are over, whether or
    not they could be stored.
    """

    token: str
    prompt: str
    requests: tuple[RunRequest, ...]
    selection: str
    propensity: float | None
    states: list[ViewState] = field(default_factory=lambda: [ViewState(), ViewState()])
    id: str = field(default_factory=new_id)
    judged: str = ""
    comparison_id: str = ""
    label_id: str = ""
    votes: int = 0
    is_revealed: bool = False
    began: float = field(default_factory=time.monotonic)
    voted: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_votable(self) -> bool:
        """Return whether both sides can be judged: each has a sentence or has ended, and neither failed."""
        return all(state.failed is None and state.started and has_sentence(state) for state in self.states)

    @property
    def is_readable(self) -> bool:
        """Return whether both answers hold enough to judge, although something may have stopped them early."""
        return all(
            state.finished is not None and (state.finished.reason != "cancelled" or is_sentence(state.answer))
            for state in self.states
        )

    @property
    def has_failed(self) -> bool:
        """Return whether a side failed, so that there is nothing to judge."""
        return any(state.failed is not None for state in self.states)

    @property
    def is_same(self) -> bool:
        """Return whether both sides ended with the same text."""
        return all(state.is_over for state in self.states) and len({state.answer.strip() for state in self.states}) == 1


class OpenComparisons:
    """Keep the newest open comparisons of this process. A visitor has only a random token.

    Nobody can take a vote from others by opening many: a comparison that is not kept any more is in the database.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, OpenComparison] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, comparison: OpenComparison) -> OpenComparison:
        """Keep `comparison`, and drop the oldest that have ended when there are too many."""
        with self._lock:
            self._open[comparison.token] = comparison
            ended = [token for token, one in self._open.items() if one.done.is_set() and one is not comparison]
            for token in ended[: max(0, len(self._open) - KEPT)]:
                del self._open[token]
        return comparison

    def get(self, token: object) -> OpenComparison | None:
        """Return the comparison of `token`, if it is kept."""
        with self._lock:
            return self._open.get(str(token or ""))

    def find(self, comparison_id: str) -> OpenComparison | None:
        """Return an open comparison by its id, if one is kept."""
        with self._lock:
            return next((one for one in self._open.values() if one.id == comparison_id), None)


def has_sentence(state: ViewState) -> bool:
    """Return whether enough has arrived to judge: the end, or some words that end like a sentence."""
    return state.finished is not None or is_sentence(state.text)


def is_sentence(text: str) -> bool:
    """Return whether a text has some words that end like a sentence."""
    return len(text) >= LEAST_LETTERS and any(sign in text for sign in ".!?\n")


def contenders(runtime: "Runtime") -> list[tuple[str, str]]:
    """Return everything that may answer one side, as (words, value)."""
    ready = [expert for expert in runtime.pool.experts if expert.ready]
    experts = [(f"expert · {expert.title}", f"expert:{expert.name}") for expert in ready]
    routers = [info for info in runtime.routers() if info.ready]
    named = [(f"router · {info.title}", f"router:{info.name}") for info in routers]
    drawn = [("an expert at random", RANDOM_PAIR), ("a router at random", RANDOM_ROUTERS)]
    return [*drawn, *experts, *named, *_versions(runtime, {info.name: info for info in routers})]


def _versions(runtime: "Runtime", routers: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the versions of routers that have several, newest first."""
    found = []
    with runtime.database.read() as session:
        for name, info in routers.items():
            known = versions_of(session, name, current=info.version)
            if len(known) > 1:
                found += [
                    (f"version · {info.title} · {one.id} ({one.state})", f"version:{name}:{one.id}")
                    for one in known[:MOST_VERSIONS]
                ]
    return found


def contender(runtime: "Runtime", name: str, prompt: str, sampling: Sampling) -> RunRequest:
    """Return the run of one side: `expert:NAME` answers alone, `router:NAME` or `version:NAME:ID` decides.

    Routers have every ready expert, and both sides the same limit of tokens. Raise InvalidRequest.
    """
    kind, _, wanted = str(name or "").partition(":")
    if kind == "router":
        return RunRequest(prompt, known_router(runtime, wanted), sampling=sampling)
    if kind == "version":
        router, _, version = wanted.partition(":")
        return RunRequest(prompt, known_router(runtime, router), version=version or None, sampling=sampling)
    if kind != "expert":
        raise InvalidRequest("One side has no expert or router.", "Choose an expert or a router for each side.")
    ready = ready_names(runtime.pool)
    if wanted not in ready:
        raise InvalidRequest(f"No ready expert is called {wanted[:60]!r}.", f"Choose one of: {', '.join(ready)}.")
    pool = runtime.pool.select(ready)
    weights = tuple(float(weight) for weight in pool.one_hot(wanted))
    return RunRequest(prompt, "manual", pool=pool.names, sampling=sampling, override=weights)


def judged(first: str, second: str) -> str:
    """Return what a vote on two contenders judges: `expert`, `router`, `version` (two of one router) or `mixed`."""
    sides = [name.split(":") for name in (first, second)]
    kinds = {side[0] == "expert" for side in sides}
    if len(kinds) > 1:
        return "mixed"
    if kinds.pop():
        return "expert"
    return "version" if sides[0][1] == sides[1][1] else "router"


def require_different(first: str, second: str) -> None:
    """Raise InvalidRequest when both sides are the same contender. Two random sides are drawn apart."""
    if first == second and first not in DRAWN:
        raise InvalidRequest("Both sides are the same.", "Choose two different ones.")


def open_comparison(runtime: "Runtime", prompt: str, first: str, second: str, *, tokens: Any) -> OpenComparison:
    """Return a comparison of two contenders. A side that is `random` is a random expert; the other side stays.

    Their order is random. Raise InvalidRequest for unknown contenders or two equal ones.
    """
    sampling = replace(
        DEFAULTS, max_new_tokens=read_sampling(tokens=tokens).max_new_tokens, seed=secrets.randbelow(2**31)
    )
    rng = np.random.default_rng(secrets.randbits(64))
    require_different(first, second)
    first, second, selection, propensity = _drawn(runtime, rng, prompt, first, second)
    requests = [contender(runtime, name, prompt, sampling) for name in (first, second)]
    if rng.random() < 0.5:
        requests.reverse()
    opened = OpenComparison(secrets.token_urlsafe(16), prompt, (requests[0], requests[1]), selection, propensity)
    opened.judged = judged(first, second)
    return opened


def _drawn(
    runtime: "Runtime", rng: np.random.Generator, prompt: str, first: str, second: str
) -> tuple[str, str, str, float | None]:
    """Return both contenders by name, how they were chosen and the probability of this pair.

    A person who chose half of a pair chose it: it has no propensity. Raise InvalidRequest when too few are ready.
    """
    if first == second == RANDOM_PAIR:
        one, two, propensity, policy = pairing.choose(runtime, prompt, rng, ready_names(runtime.pool))
        return f"expert:{one}", f"expert:{two}", policy, propensity
    if first == second == RANDOM_ROUTERS:
        names = _others(runtime, RANDOM_ROUTERS, "")
        if len(names) < 2:
            raise InvalidRequest("There are no two routers that are ready.", "Compare experts.")
        chosen = [names[int(i)] for i in rng.choice(len(names), size=2, replace=False)]
        return chosen[0], chosen[1], "uniform", 2.0 / (len(names) * (len(names) - 1))
    if first in DRAWN:
        first = _rival(runtime, rng, first, second)
    if second in DRAWN:
        second = _rival(runtime, rng, second, first)
    return first, second, "manual", None


def _others(runtime: "Runtime", kind: str, chosen: str) -> list[str]:
    """Return the ready contenders of a kind that is drawn, without `chosen`."""
    if kind == RANDOM_PAIR:
        names = [f"expert:{name}" for name in ready_names(runtime.pool)]
    else:
        names = [f"router:{info.name}" for info in runtime.routers() if info.ready]
    return [name for name in names if name != chosen]


def _rival(runtime: "Runtime", rng: np.random.Generator, kind: str, chosen: str) -> str:
    """Return a random ready contender other than `chosen`. Raise InvalidRequest when there is none."""
    rivals = _others(runtime, kind, chosen)
    if not rivals:
        raise InvalidRequest("There is no other expert that is ready.", "Choose two different sides.")
    return rivals[int(rng.integers(len(rivals)))]


def decoded(runtime: "Runtime", comparison: OpenComparison, session_id: str) -> Generator[tuple[int, Event]]:
    """Yield (side, event) while both sides decode in one batch; side 0 is A. At the end both runs are stored.

    An early vote ends it (`voted`), and so does a page that shows something else (`left`).
    """
    sides: dict[str, int] = {}
    first, second = comparison.requests
    try:
        with closing(runtime.run_pair(first, second, session_id=session_id)) as events:
            for event in events:
                if isinstance(event, RunStarted):  # runs start in the order they were asked for
                    sides[event.run_id] = len(sides)
                side = sides[event.run_id]
                comparison.states[side] = fold(comparison.states[side], event)
                yield side, event
                if comparison.voted.is_set() or comparison.left.is_set():
                    break
    finally:
        try:
            _store(runtime, comparison)
        finally:
            comparison.done.set()


def _store(runtime: "Runtime", comparison: OpenComparison) -> None:
    """Store the comparison of two stored runs.

    Do nothing when a side failed or never started, or when the page shows another comparison: nobody can judge it.
    """
    ids = [state.run_id for state in comparison.states]
    is_replaced = comparison.left.is_set() and not comparison.voted.is_set()
    if comparison.has_failed or not all(ids) or is_replaced:
        return
    with runtime.database.write() as session:
        comparison.comparison_id = create_comparison(
            session,
            *ids,
            selection=comparison.selection,
            pair_propensity=comparison.propensity,
            left_run=ids[0],
            comparison_id=comparison.id,
            judged=comparison.judged or None,
        )


def compare(runtime: "Runtime", prompt: str, first: str, second: str, *, tokens: Any) -> dict[str, Any]:
    """Compare for a client. Return the id and both answers as JSON. Raise InvalidRequest when a side failed."""
    runtime.wait(LOAD_SECONDS)
    text, notice = checked_prompt(prompt, runtime.settings.max_prompt_chars)
    comparison = open_comparison(runtime, text, str(first), str(second), tokens=tokens)
    for _ in decoded(runtime, comparison, "api"):
        pass
    if not comparison.comparison_id:
        raise InvalidRequest("One answer failed, so there is nothing to compare.", "Try again.")
    a, b = comparison.states
    return {"comparison_id": comparison.comparison_id, "a": a.answer, "b": b.answer, **noted(notice)}
