"""A blind comparison from start to vote, without any drawing: the page and its endpoints both use it.

What tells the sides apart stays here on the server until the vote: names, weights, versions, times, run ids.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from playground.core.events import Event, RunStarted, TokenGenerated
from playground.core.fold import ViewState, ending, fold
from playground.core.preferences import Verdict
from playground.core.values import RunRequest, Sampling
from playground.errors import InvalidRequest
from playground.learn.labels.pairs import uniform_pair
from playground.store.labels import LabelRow, add_rationale, create_comparison, current_labels, undo, vote
from playground.store.people import labeller
from playground.ui.asking import known_router
from playground.ui.stream import UPDATE_SECONDS, has_sentence
from playground.ui.wire import blind_line, opening

if TYPE_CHECKING:
    from playground.runtime import Runtime

KEPT = 500
RANDOM_PAIR = "random"
STORE_SECONDS = 20.0
KEYS = {verdict.key: verdict for verdict in Verdict}


@dataclass(eq=False)
class Duel:
    """Two runs of one prompt and what became of them. `sides[0]` is shown left as A."""

    token: str
    prompt: str
    requests: tuple[RunRequest, ...]
    selection: str
    propensity: float | None
    states: list[ViewState] = field(default_factory=lambda: [ViewState(), ViewState()])
    comparison_id: str = ""
    label_id: str = ""
    votes: int = 0
    is_revealed: bool = False
    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_votable(self) -> bool:
        """Whether both sides can be judged: a sentence each, or ended, and neither failed."""
        return all(state.failed is None and state.started and has_sentence(state) for state in self.states)

    @property
    def has_failed(self) -> bool:
        """Whether a side broke, so that there is nothing to judge."""
        return any(state.failed is not None for state in self.states)

    @property
    def is_same(self) -> bool:
        """Whether both sides ended with the same text."""
        return all(state.is_over for state in self.states) and len({state.answer.strip() for state in self.states}) == 1


class Duels:
    """The comparisons in progress of this process, newest kept; a visitor holds only a random token of theirs."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Duel] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, duel: Duel) -> Duel:
        """Keep `duel`, and let go of the oldest when there are too many."""
        with self._lock:
            self._open[duel.token] = duel
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return duel

    def get(self, token: object) -> Duel:
        """The duel of `token`. Raises InvalidRequest when it is not kept any more."""
        with self._lock:
            found = self._open.get(str(token or ""))
        if found is None:
            raise InvalidRequest("This comparison is no longer open.", "Start a new one; votes given are kept.")
        return found


def contender(runtime: "Runtime", name: str, prompt: str, sampling: Sampling) -> RunRequest:
    """A run by what `name` says: `expert:NAME` answers alone, `router:NAME` decides. Raises InvalidRequest."""
    kind, _, wanted = str(name or "").partition(":")
    if kind == "router":
        return RunRequest(prompt, known_router(runtime, wanted), sampling=sampling)
    if kind != "expert":
        raise InvalidRequest("Say who answers.", "Choose an expert or a router for each side.")
    ready = [expert.name for expert in runtime.pool.experts if expert.ready]
    if wanted not in ready:
        raise InvalidRequest(f"No ready expert is called {wanted[:60]!r}.", f"Choose one of: {', '.join(ready)}.")
    pool = runtime.pool.select(ready)
    weights = tuple(float(weight) for weight in pool.one_hot(wanted))
    return RunRequest(prompt, "manual", pool=pool.names, sampling=sampling, override=weights)


def new_duel(runtime: "Runtime", prompt: str, first: str, second: str, *, sampling: Sampling) -> Duel:
    """A duel of two contenders, or of a random pair of experts when both are `random`; sides are always drawn.

    Raises InvalidRequest for unknown contenders or two equal ones.
    """
    rng = np.random.default_rng(secrets.randbits(64))
    propensity: float | None = None
    selection = "manual"
    if RANDOM_PAIR in (first, second):
        ready = [expert.name for expert in runtime.pool.experts if expert.ready]
        one, two, propensity = uniform_pair(runtime.pool, rng, ready)
        first, second, selection = f"expert:{one}", f"expert:{two}", "uniform"
    if first == second:
        raise InvalidRequest("Both sides are the same.", "Choose two different ones.")
    requests = [contender(runtime, name, prompt, sampling) for name in (first, second)]
    if rng.random() < 0.5:
        requests.reverse()
    return Duel(secrets.token_urlsafe(16), prompt, (requests[0], requests[1]), selection, propensity)


def _store(runtime: "Runtime", duel: Duel) -> None:
    """Register the comparison of two stored runs; nothing when a side failed or never started."""
    ids = [state.run_id for state in duel.states]
    if duel.has_failed or not all(ids):
        return
    with runtime.database.write() as session:
        duel.comparison_id = create_comparison(
            session, *ids, selection=duel.selection, pair_propensity=duel.propensity, left_run=ids[0]
        )


def decoded(runtime: "Runtime", duel: Duel, session_id: str) -> Generator[tuple[str, str]]:
    """The growing blind lines of both sides while they decode in one batch. An early vote ends it (`duel.stop`), and
    so does a page that shows something else (`duel.left`)."""
    nonce = secrets.token_hex(4)
    texts = [opening(nonce), opening(nonce)]
    side: dict[str, int] = {}
    first, second = duel.requests
    events = runtime.run_pair(first, second, session_id=session_id)
    shown = 0.0
    try:
        for event in events:
            _place(event, side, duel, texts)
            now = time.monotonic()
            if not isinstance(event, TokenGenerated) or now - shown >= UPDATE_SECONDS:
                shown = now
                yield texts[0], texts[1]
            if duel.stop.is_set() or duel.left.is_set():
                break
    finally:
        events.close()  # type: ignore[attr-defined]  # closing the engine's generator stores what was cut off
        try:
            _store(runtime, duel)
        finally:
            duel.done.set()
    ends = ["" if state.is_over or not state.started else blind_line(ending(state)) for state in duel.states]
    yield texts[0] + ends[0], texts[1] + ends[1]


def _place(event: Event, side: dict[str, int], duel: Duel, texts: list[str]) -> None:
    """Fold `event` into its side; runs start in the order they were asked for."""
    if isinstance(event, RunStarted):
        side[event.run_id] = len(side)
    at = side[event.run_id]
    duel.states[at] = fold(duel.states[at], event)
    texts[at] += blind_line(event)


def judge(runtime: "Runtime", duel: Duel, key: str, handle: str) -> str:
    """The id of the label, committed before this returns. A second press for the same showing gives the first label.

    Raises InvalidRequest for an unknown verdict, a failed side or a comparison that is not stored in time.
    """
    verdict = verdict_of(key)
    seen = [len(state.tokens) for state in duel.states]
    duel.stop.set()
    if not duel.done.wait(STORE_SECONDS) or not duel.comparison_id:
        raise InvalidRequest("This comparison cannot be judged.", "Start the next one.")
    lead_ms = int(1000 * (time.monotonic() - duel.began))
    with runtime.database.write() as session:
        who = labeller(session, handle)
        duel.label_id = vote(
            session,
            duel.comparison_id,
            verdict,
            labeller_id=who,
            client_token=f"{duel.token}:{duel.votes}",
            revealed_before=duel.is_revealed,
            lead_ms=lead_ms,
            source_detail={"tokens_seen": seen},
        )
    duel.is_revealed = True
    return duel.label_id


def take_back(runtime: "Runtime", duel: Duel, handle: str) -> None:
    """Undo the vote on `duel`. Raises InvalidRequest when there is none."""
    if not duel.label_id:
        raise InvalidRequest("There is no vote to take back.", "Vote first.")
    undo_label(runtime, duel.label_id, handle, token=f"{duel.token}:undo{duel.votes}")
    duel.label_id = ""
    duel.votes += 1


def undo_label(runtime: "Runtime", label_id: str, handle: str, *, token: str = "") -> str:
    """The id of the row that takes back a vote of this visitor. Raises InvalidRequest, NotPermitted."""
    with runtime.database.write() as session:
        who = labeller(session, handle)
        return undo(session, label_id, labeller_id=who, client_token=token or secrets.token_urlsafe(12))


def explain(runtime: "Runtime", label_id: str, text: str, tags: list[str]) -> None:
    """Store why. Raises InvalidRequest for a vote that is not in force or a text that is too long."""
    with runtime.database.write() as session:
        if not current_labels(session, label_id=label_id):
            raise InvalidRequest("This vote was taken back or changed.", "Vote again, then say why.")
        add_rationale(session, label_id, text.strip(), tags)


def own_labels(runtime: "Runtime", handle: str, limit: int = 10) -> list[LabelRow]:
    """The newest votes in force of this visitor."""
    with runtime.database.write() as session:
        who = labeller(session, handle)
    with runtime.database.read() as session:
        return current_labels(session, labeller_id=who, limit=limit)


def verdict_of(key: object) -> Verdict:
    """The verdict of a key (`1` … `7`, `0`, `s`) or of a choice (`a`, `b`, `tie`, `bad`, `skip`).

    Raises InvalidRequest for anything else.
    """
    text = str(key or "").strip().lower()
    if text in KEYS:
        return KEYS[text]
    if text in ("a", "b", "tie", "bad", "skip"):
        return Verdict.of(text, None)
    raise InvalidRequest(
        f"No verdict is called {text[:20]!r}.", f"Choose one of: {', '.join(KEYS)}, a, b, tie, bad, skip."
    )
