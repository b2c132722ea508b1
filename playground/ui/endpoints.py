"""The page's named endpoints, for `gradio_client` and curl: the same engine, labels and versions as the tabs.

Everything else on the page is private. Arguments come from anywhere, so each is checked where it is used.
"""

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import ask as asking
from playground.actions import compare as comparing
from playground.actions import finetune as finetuning
from playground.actions import identity
from playground.actions.ask_again import answered_again
from playground.core.fold import ViewState, answer_json, fold_all
from playground.core.preferences import Verdict
from playground.core.values import RunRequest
from playground.errors import InvalidRequest
from playground.experts.adapters import adding
from playground.store.labels import LabelRow, as_records, current_labels, vote
from playground.store.people import labeller as labeller_id
from playground.ui.experts_tab import PATIENCE_SECONDS
from playground.ui.failures import guarded, guarded_stream

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

LOAD_SECONDS = 600.0


class Endpoints:
    """One method per endpoint; its docstring and types are the endpoint's description."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime

    def _request(self, prompt: str, router: str, max_tokens: int, temperature: float, seed: int) -> RunRequest:
        self.runtime.wait(LOAD_SECONDS)
        text, _ = asking.checked_prompt(prompt, self.runtime.settings.max_prompt_chars)
        sampling = asking.sampling_of(temperature, 0.9, 1.1, max_tokens, seed)
        return RunRequest(text, asking.known_router(self.runtime, router), sampling=sampling)

    def ask(
        self, prompt: str, router: str = "knn", max_tokens: int = 160, temperature: float = 0.2, seed: int = 0
    ) -> dict[str, Any]:
        """Send a prompt through a router; returns the answer, the weights and why."""
        request = self._request(prompt, router, max_tokens, temperature, seed)
        return answer_json(fold_all(self.runtime.run(request, session_id="api")))

    def run(
        self, prompt: str, router: str = "knn", max_tokens: int = 160, temperature: float = 0.2, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """The same, streamed: the text so far and the newest weights; the last one is what /ask returns."""
        request = self._request(prompt, router, max_tokens, temperature, seed)
        state = ViewState()
        with closing(self.runtime.run(request, session_id="api")) as events:  # type: ignore[type-var]
            for event in events:
                state = fold_all([event], state)
                weights = state.tokens[-1].weights if state.tokens else state.weights
                if weights is not None and not state.is_over:
                    shares = dict(zip(state.pool, map(float, weights), strict=True))
                    yield {"text": state.text, "weights": shares, "run_id": state.run_id}
        yield answer_json(state)

    def again(self, run_id: str, change: dict[str, Any]) -> dict[str, Any]:
        """Answer a stored run again: both answers, where they first differ, how likely each routing finds each.

        `change` is `{"weights": {expert: share}, "layers": [from, to]}` (from 1; left out for all layers) or
        `{"leave_out": [experts]}`. Likelihoods are mean log-probabilities per token.
        """
        self.runtime.wait(LOAD_SECONDS)
        return answered_again(self.runtime, str(run_id)[:64], change if isinstance(change, dict) else {})

    def compare(
        self, prompt: str, first: str = comparing.RANDOM_PAIR, second: str = comparing.RANDOM_PAIR, max_tokens: int = 96
    ) -> dict[str, Any]:
        """Two answers to one prompt, blind: `first` and `second` are `random`, `expert:NAME` or `router:NAME`."""
        self.runtime.wait(LOAD_SECONDS)
        text, _ = asking.checked_prompt(prompt, self.runtime.settings.max_prompt_chars)
        sampling = asking.sampling_of(0.7, 0.95, 1.1, max_tokens, secrets.randbelow(2**31))
        duel = comparing.new_duel(self.runtime, text, first, second, sampling=sampling)
        for _ in comparing.decoded(self.runtime, duel, "api"):
            pass
        if not duel.comparison_id:
            raise InvalidRequest("One answer failed, so there is nothing to compare.", "Try again.")
        return {"comparison_id": duel.comparison_id, "a": duel.states[0].answer, "b": duel.states[1].answer}

    def vote(self, comparison_id: str, verdict: str, labeller: str = "", client_token: str = "") -> dict[str, Any]:
        """Store a verdict (`1` to `7`, `0`, `s`, or a, b, tie, bad, skip; A is the first answer), then say who did it.

        Saved on disk before this returns. Give the same `client_token` when you retry, and the vote counts once; give
        your own secret `labeller` (8 to 64 letters and digits) to be able to undo.
        """
        handle = labeller if identity.HANDLE.match(labeller) else identity.new_handle()
        wanted = comparing.verdict_of(verdict)
        with self.runtime.database.write() as session:
            who = labeller_id(session, handle)
            token = client_token or secrets.token_urlsafe(12)
            label_id = vote(session, comparison_id, wanted, labeller_id=who, client_token=token)
        return {"label_id": label_id, "saved": True, "labeller": handle, **self._reveal(label_id, wanted)}

    def _reveal(self, label_id: str, verdict: Verdict) -> dict[str, Any]:
        with self.runtime.database.read() as session:
            rows = current_labels(session, label_id=label_id)
        if not rows:
            return {"verdict": verdict.text}
        first, second = (rows[0].a, rows[0].b) if rows[0].left == "a" else (rows[0].b, rows[0].a)
        sides = {
            letter: {"expert": side.expert, "router": side.router, "version": side.version, "run_id": side.run_id}
            for letter, side in (("a", first), ("b", second))
        }
        return {"verdict": verdict.text, **sides}

    def undo(self, label_id: str, labeller: str) -> dict[str, Any]:
        """Take back a vote of your own; `labeller` is what /vote returned."""
        row = comparing.undo_label(self.runtime, label_id, identity.handle_of(labeller))
        return {"undone": label_id, "row": row}

    def labels(self, limit: int = 100) -> dict[str, Any]:
        """The newest labels in force, both answers and their experts included."""
        with self.runtime.database.read() as session:
            rows: list[LabelRow] = current_labels(session, limit=max(1, min(int(limit), 5000)))
        return {"labels": as_records(rows)}

    def finetune(self, router: str = "linear", objective: str = "dpo", note: str = "") -> Iterator[dict[str, Any]]:
        """Teach a router from the labels: progress, then before and after. Makes a draft; /promote uses it."""
        self.runtime.wait(LOAD_SECONDS)
        asking.known_router(self.runtime, router)
        teaching = finetuning.teaching_of(self.runtime)
        learning = finetuning.fine_tune(teaching, router, objective=objective, note=note)
        with closing(learning):  # type: ignore[type-var]  # a generator
            for step in learning:
                if isinstance(step, finetuning.FineTuned):
                    yield finetuning.as_json_object(step)
                else:
                    yield {"step": step.step, "steps": step.steps}

    def promote(self, version: str, password: str = "") -> dict[str, Any]:
        """Put a version of a router in force (the host's right)."""
        self.runtime.wait(LOAD_SECONDS)
        return {"version": finetuning.promote(self.runtime, version, password), "in_force": True}

    def rollback(self, router: str, password: str = "") -> dict[str, Any]:
        """Put the version before in force again (the host's right)."""
        self.runtime.wait(LOAD_SECONDS)
        return {"version": finetuning.roll_back(self.runtime, router, password), "in_force": True}

    def versions(self, router: str) -> dict[str, Any]:
        """Every version of a router, newest first."""
        self.runtime.wait(LOAD_SECONDS)
        rows = finetuning.history(self.runtime, asking.known_router(self.runtime, router))
        names = ("id", "router", "parent", "note", "state", "metrics")
        return {
            "versions": [{name: getattr(row, name) for name in names} | {"is_current": row.is_current} for row in rows]
        }

    def routers(self) -> dict[str, Any]:
        """Every router with its level, paper and whether it is ready."""
        self.runtime.wait(LOAD_SECONDS)
        return {"routers": [vars(info) for info in self.runtime.routers()]}

    def experts(self) -> dict[str, Any]:
        """Every expert with its kind, licence, whether it is ready, and whether it was added here."""
        names = (
            "name",
            "kind",
            "title",
            "description",
            "ready",
            "reason",
            "licence",
            "trained_on",
            "figure",
            "is_added",
        )
        return {"experts": [{name: getattr(expert, name) for name in names} for expert in self.runtime.pool.experts]}

    def check_adapter(self, source: str, password: str = "") -> dict[str, Any]:
        """Whether a LoRA fits: a folder or zip file on the server, or a hub id (the host's right)."""
        candidate = self._checked(source, password)
        adding.discard(candidate)
        return {"source": candidate.label, **candidate.checklist.as_json()}

    def add_expert(
        self, source: str, name: str = "", description: str = "", licence: str = "", password: str = ""
    ) -> dict[str, Any]:
        """Add a LoRA that fits; the next run can use it (the host's right). What is left empty is suggested."""
        candidate = self._checked(source, password)
        try:
            fields = {"name": name or None, "description": description or None, "licence": licence or None}
            expert = self.runtime.add_expert(candidate, adding.card_from(candidate.card, **fields))
        finally:
            adding.discard(candidate)
        return {"added": expert.name, **candidate.checklist.as_json()}

    def _checked(self, source: str, password: str) -> adding.Candidate:
        identity.require_admin(self.runtime.settings, password)
        self.runtime.wait(LOAD_SECONDS)
        return self.runtime.check_adapter(str(source)[:500])

    def remove_expert(self, name: str, password: str = "") -> dict[str, Any]:
        """Take an added expert out and delete its files, once no run is under way (the host's right)."""
        identity.require_admin(self.runtime.settings, password)
        self.runtime.wait(LOAD_SECONDS)
        return {"removed": self.runtime.remove_expert(name, patience_s=PATIENCE_SECONDS).name}


PLAIN = (
    "ask",
    "again",
    "compare",
    "vote",
    "undo",
    "labels",
    "promote",
    "rollback",
    "versions",
    "routers",
    "experts",
    "check_adapter",
    "add_expert",
    "remove_expert",
)
STREAMS = ("run", "finetune")
MODEL = ("ask", "again", "run", "compare")


def add_endpoints(runtime: "Runtime") -> None:
    """Register every endpoint on the page that is being built."""
    endpoints = Endpoints(runtime)
    for name in (*PLAIN, *STREAMS):
        method = getattr(endpoints, name)
        safe = guarded_stream(method) if name in STREAMS else guarded(method)
        shared: dict[str, Any] = {}
        if name in MODEL:
            shared = {"concurrency_id": "model", "concurrency_limit": runtime.settings.max_batch}
        gr.api(safe, api_name=name, **shared)
