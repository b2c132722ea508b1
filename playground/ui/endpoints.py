"""The page's named endpoints, for `gradio_client` and curl: the same actions as the tabs.

Everything else on the page is private. Arguments come from anywhere, so each is checked where it is used.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import ask, ask_again, compare, experts, export, finetune, identity, vote
from playground.actions.finetune_outcome import FineTuned, as_json_object
from playground.actions.teaching import teaching_of
from playground.core.fold import ViewState, fold_all
from playground.ui.browser_values import typed
from playground.ui.failures import guarded, guarded_stream
from playground.ui.fair_queue import MODEL
from playground.ui.visitors import asking_address

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

WAITING = ("ask", "run", "again", "compare")  # these wait for the model's thread
# these go one at a time, together with what the tabs do
ALONE = {"finetune": "tune", "check_adapter": "experts", "add_expert": "experts", "remove_expert": "experts"}
# a method below may have the name of the module, so defaults are named here
ROUTER = ask.DEFAULT_ROUTER
TOKENS, TEMPERATURE, SEED = ask.DEFAULTS.max_new_tokens, ask.DEFAULTS.temperature, ask.DEFAULTS.seed
PAIR, PAIR_TOKENS = compare.RANDOM_PAIR, compare.DEFAULTS.max_new_tokens


class Endpoints:
    """One public method per endpoint. Its docstring and types describe the endpoint."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    def _address(self) -> str:
        return asking_address(self._runtime.settings)

    def ask(
        self,
        prompt: str,
        router: str = ROUTER,
        max_tokens: int = TOKENS,
        temperature: float = TEMPERATURE,
        seed: int = SEED,
    ) -> dict[str, Any]:
        """Send a prompt through a router. Return the answer, the weights and the reason."""
        request, notice = ask.client_request(
            self._runtime, prompt, router, tokens=max_tokens, temperature=temperature, seed=seed
        )
        return ask.answer_json(fold_all(self._runtime.run(request, session_id="api")), notice)

    def run(
        self,
        prompt: str,
        router: str = ROUTER,
        max_tokens: int = TOKENS,
        temperature: float = TEMPERATURE,
        seed: int = SEED,
    ) -> Iterator[dict[str, Any]]:
        """Send a prompt and stream the text so far with the newest weights. The last value is what /ask returns."""
        request, notice = ask.client_request(
            self._runtime, prompt, router, tokens=max_tokens, temperature=temperature, seed=seed
        )
        state = ViewState()
        for state in ask.answers(self._runtime, request, session_id="api"):
            shown = ask.partial_json(state)
            if shown is not None:
                yield shown
        yield ask.answer_json(state, notice)

    def again(self, run_id: str, change: dict[str, Any]) -> dict[str, Any]:
        """Answer a stored run again. Return both answers, where they first differ, and likelihoods.

        `change` is `{"weights": {expert: share}, "layers": [from, to]}` or `{"leave_out": [experts]}`. Layers count
        from 1. Without `layers`, the weights hold in all layers. Likelihoods are mean log-probabilities per token.
        """
        self._runtime.wait(ask.LOAD_SECONDS)
        return ask_again.answer_again(self._runtime, str(run_id)[:64], change if isinstance(change, dict) else {})

    def compare(
        self,
        prompt: str,
        first: str = PAIR,
        second: str = PAIR,
        max_tokens: int = PAIR_TOKENS,
    ) -> dict[str, Any]:
        """Answer one prompt twice, blind. `first` and `second` are `random`, `expert:NAME` or `router:NAME`."""
        return compare.compare(self._runtime, prompt, first, second, tokens=max_tokens)

    def vote(
        self,
        comparison_id: str,
        verdict: str,
        labeller: str = "",
        client_token: str = "",
    ) -> dict[str, Any]:
        """Store a verdict. Return the stored verdict, then name who answered. A is the first answer.

        `verdict` is `1` to `7`, `0` or `s`, or one of a, b, tie, bad, skip.

        The vote is on disk before this returns. Give the same `client_token` when you retry, and the vote counts once:
        the first verdict stays, and `note` says so. `in_force` is false for a vote that was taken back or replaced.

        Give a secret `labeller` of your own (8 to 64 letters, digits, - or _) to be known by it. Without one, all
        clients at your network address are one labeller.
        """
        return vote.client_vote(
            self._runtime, comparison_id, verdict, handle=labeller, client_token=client_token, address=self._address()
        )

    def undo(self, label_id: str, labeller: str) -> dict[str, Any]:
        """Take back a vote of your own. `labeller` is what /vote returned."""
        row = vote.undo_label(self._runtime, label_id, identity.named_handle(labeller))
        return {"undone": label_id, "row": row}

    def labels(self, limit: int = 100, labeller: str = "", password: str = "") -> dict[str, Any]:
        """Return the newest labels in force, with both answers and their experts.

        With `labeller`, only those of that labeller. The host can close the others with `PLAYGROUND_PUBLIC_LABELS`, and
        on a Space they are closed unless it is set: then the admin password opens them.
        """
        rows = vote.client_labels(self._runtime, limit, handle=labeller, password=password, address=self._address())
        return export.labels_json(rows)

    def finetune(self, router: str = "linear", objective: str = "dpo", note: str = "") -> Iterator[dict[str, Any]]:
        """Teach a router from the labels. Stream progress, then before and after. /promote puts the draft in force."""
        self._runtime.wait(ask.LOAD_SECONDS)
        ask.known_router(self._runtime, router)
        teaching = teaching_of(self._runtime, address=self._address())
        learning = finetune.fine_tune(teaching, router, objective=objective, note=note)
        with closing(learning):  # type: ignore[type-var]  # a generator
            for step in learning:
                if isinstance(step, FineTuned):
                    yield as_json_object(step)
                else:
                    yield {"step": step.step, "steps": step.steps}

    def promote(self, version: str, password: str = "") -> dict[str, Any]:
        """Put a version of a router in force (host only)."""
        self._runtime.wait(ask.LOAD_SECONDS)
        promoted = finetune.promote(self._runtime, version, password, address=self._address())
        return {"version": promoted, "in_force": True}

    def rollback(self, router: str, password: str = "") -> dict[str, Any]:
        """Put the previous version in force again (host only)."""
        self._runtime.wait(ask.LOAD_SECONDS)
        back = finetune.roll_back(self._runtime, router, password, address=self._address())
        return {"version": back, "in_force": True}

    def versions(self, router: str) -> dict[str, Any]:
        """Return every version of a router, newest first."""
        self._runtime.wait(ask.LOAD_SECONDS)
        rows = finetune.history(self._runtime, ask.known_router(self._runtime, router))
        names = ("id", "router", "parent", "note", "state", "metrics")
        return {
            "versions": [{name: getattr(row, name) for name in names} | {"is_current": row.is_current} for row in rows]
        }

    def routers(self) -> dict[str, Any]:
        """Return every router with its level, its paper and whether it is ready."""
        self._runtime.wait(ask.LOAD_SECONDS)
        return {"routers": [vars(info) for info in self._runtime.routers()]}

    def experts(self) -> dict[str, Any]:
        """Return every expert with its kind, its licence, whether it is ready, and whether it was added here."""
        return experts.experts_json(self._runtime.pool)

    def check_adapter(self, source: str, password: str = "") -> dict[str, Any]:
        """Check whether a LoRA fits: a folder or zip file on the server, or a hub id (host only)."""
        return experts.client_check(self._runtime, source, password, address=self._address())

    def add_expert(
        self, source: str, name: str = "", description: str = "", licence: str = "", password: str = ""
    ) -> dict[str, Any]:
        """Add a LoRA that fits (host only). The next run can use it. Empty fields are filled in."""
        fields = {"name": name or None, "description": description or None, "licence": licence or None}
        return experts.client_add(self._runtime, source, fields, password, address=self._address())

    def remove_expert(self, name: str, password: str = "") -> dict[str, Any]:
        """Remove an added expert and delete its files, once no run is under way (host only)."""
        return {"removed": experts.remove(self._runtime, name, password, address=self._address()).name}


def endpoint_methods(endpoints: Endpoints) -> dict[str, Callable[..., Any]]:
    """Return every endpoint by name: the public methods, in the order they are written."""
    return {name: getattr(endpoints, name) for name in vars(Endpoints) if not name.startswith("_")}


def add_endpoints(runtime: "Runtime") -> None:
    """Register every endpoint on the page that is being built."""
    for name, method in endpoint_methods(Endpoints(runtime)).items():
        is_stream = method.__annotations__["return"] == Iterator[dict[str, Any]]
        safe = guarded_stream(typed(method), is_page=False) if is_stream else guarded(typed(method), is_page=False)
        shared: dict[str, Any] = {}
        if name in WAITING:
            shared = {"concurrency_id": MODEL, "concurrency_limit": runtime.settings.max_batch}
        elif name in ALONE:
            shared = {"concurrency_id": ALONE[name], "concurrency_limit": 1}
        gr.api(safe, api_name=name, **shared)
