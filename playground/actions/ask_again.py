"""Answer a run again with something changed: weights set by hand, in all layers or some, or experts left out.

This module checks what a browser or a client asks and makes the request. It keeps nothing.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.actions.ask import answer_json
from playground.core.fold import ViewState, fold_all
from playground.core.route_measures import first_difference
from playground.core.values import Observe, Pool, RunRequest, Serve, normalised
from playground.errors import InvalidRequest
from playground.store.runs import load_events, load_run

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

MOST_LAYERS = 1000
SERVED: dict[str, Serve] = {"mixture": "mix", "sample": "sample"}


@dataclass(frozen=True)
class LastRun:
    """Hold the request of a run, to answer it again with something changed. `pool` names the experts it had."""

    request: RunRequest
    pool: tuple[str, ...]
    run_id: str


def stored_run(runtime: "Runtime", run_id: str) -> tuple[LastRun, ViewState]:
    """Return the request of a stored run, and its state. Raise InvalidRequest for an unknown run."""
    with runtime.database.read() as session:
        stored, state = load_run(session, run_id), fold_all(load_events(session, run_id))
    started = state.started
    observe = None
    if started is not None and started.observed_layer >= 0:
        observe = Observe(started.observed_layer, started.observed_head)
    request = RunRequest(
        stored.prompt,
        stored.router,
        version=stored.version,
        pool=stored.experts,
        sampling=stored.sampling,
        observe=observe,
        serve=SERVED.get(state.decided.scheme, "top") if state.decided else "top",
        options=dict(started.options) if started is not None else {},
    )
    return LastRun(request, stored.experts, run_id), state


def change_words(request: RunRequest, before: Sequence[str]) -> str:
    """Return in words what a counterfactual changed, for the line above its answer."""
    if request.override is None:
        return "Without " + ", ".join(name for name in before if name not in (request.pool or ()))
    if request.override_layers:
        return f"With your weights in layers {request.override_layers[0] + 1} to {request.override_layers[-1] + 1}"
    return "With your weights"


def counterfactual(request: RunRequest, pool: Pool, value: Any) -> RunRequest:
    """Return `request` with the changes of the override panel, over the `pool` of the first run.

    `value` is the panel's JSON: experts left out, or weights for all layers or some. Raise InvalidRequest for
    anything else.
    """
    try:
        asked = json.loads(str(value))
        mode, dropped = str(asked["mode"]), {str(name) for name in asked["dropped"]}
        weights = [float(weight) for weight in asked["weights"]]
        first, last, layers = int(asked["from"]), int(asked["to"]), int(asked["layers"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise InvalidRequest("The weights cannot be read.", "Run the prompt again, then change them.") from error
    if mode == "drop":
        return leaving_out(request, pool, dropped)
    if len(weights) != len(pool):
        raise InvalidRequest("These weights are for other experts.", "Run the prompt again, then change them.")
    chosen = range(max(1, first), min(last, layers, MOST_LAYERS) + 1)
    return overriding(request, weights, pool, tuple(layer - 1 for layer in chosen) if len(chosen) < layers else ())


def leaving_out(request: RunRequest, pool: Pool, dropped: Collection[str]) -> RunRequest:
    """Return `request` for the router to decide again without the experts `dropped`. Raise InvalidRequest."""
    kept = tuple(name for name in pool.names if name not in dropped)
    if len(kept) == len(pool):
        raise InvalidRequest("No expert is left out.", "Leave out at least one expert, but not all.")
    if not kept:
        raise InvalidRequest("Every expert is left out.", "Leave out at least one expert, but not all.")
    return replace(request, pool=kept, override=None, override_layers=())


def overriding(request: RunRequest, weights: Sequence[float], pool: Pool, layers: tuple[int, ...] = ()) -> RunRequest:
    """Return `request` with weights set by hand over `pool`, in `layers` alone when there are any.

    The weights are blended. A tool with the highest weight answers alone instead.
    """
    shares = normalised(weights)
    serve: Serve = "mix" if pool.mixable[int(np.argmax(shares))] else "top"
    return replace(
        request,
        pool=pool.names,
        override=tuple(float(share) for share in shares),
        override_layers=layers,
        serve=request.serve if layers else serve,
    )


def changed_request(previous: LastRun, pool: Pool, change: Mapping[str, Any]) -> RunRequest:
    """Return the request that a client asks for by names.

    `change` is {weights: {expert: share}, layers: [from, to]} with layers from 1, or {leave_out: [experts]}. Raise
    InvalidRequest for anything else.
    """
    try:
        if change.get("leave_out"):
            return leaving_out(previous.request, pool, {str(name) for name in change["leave_out"]})
        weights = {str(name): float(weight) for name, weight in dict(change["weights"]).items()}
        first, last = (int(layer) for layer in change.get("layers") or (1, 0))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("The change cannot be read.", "Give weights by expert, or leave_out as a list.") from error
    for name in weights:
        pool.index(name)
    layers = tuple(range(max(1, first) - 1, min(last, MOST_LAYERS)))
    if change.get("layers") and not layers:
        raise InvalidRequest("The change names no layer.", "Give layers as [from, to], counted from 1.")
    return overriding(previous.request, [weights.get(name, 0.0) for name in pool.names], pool, layers)


def answer_again(runtime: "Runtime", run_id: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return both answers, the token (from 1) in which they first differ, and how likely each routing finds each.

    Raise InvalidRequest for an unknown run, one without an answer, or a change that cannot be made.
    """
    previous, before = stored_run(runtime, run_id)
    first = answer_json(before)  # a run without an answer is refused before another one begins
    request = changed_request(previous, runtime.pool.select(previous.pool), change)
    after = fold_all(runtime.run(request, session_id="api"))
    both = {"first": first, "again": answer_json(after)}
    at = first_difference(*([token.token_id for token in state.tokens] for state in (before, after)))
    likely = vars(runtime.likelihoods(run_id, after.run_id))
    return {**both, "first_difference": None if at is None else at + 1, "likelihoods": likely}
