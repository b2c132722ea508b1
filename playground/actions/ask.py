"""Ask: check every value that came from a browser or a client, and make a `RunRequest` of them.

This module also holds what a run looks like as JSON, and the settings that an answer has by default.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from playground.core.fold import ViewState, fold
from playground.core.values import SERVES, Evidence, Observe, Pool, RunRequest, Sampling, Scores, Serve
from playground.errors import InvalidRequest

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

DEFAULT_ROUTER = "knn"
DEFAULTS = Sampling()
LOAD_SECONDS = 600.0  # how long a client waits for the models


# --- reading what was asked -----------------------------------------------------------------------------------------


def checked_prompt(prompt: Any, limit: int) -> tuple[str, str]:
    """Return (prompt, notice): stripped, and cut at `limit` characters with a notice.

    Raise InvalidRequest when the prompt is empty.
    """
    text = str(prompt or "").encode("utf-8", "replace").decode().strip()  # a broken paste can hold half of a character
    if not text:
        raise InvalidRequest("The prompt is empty.", "Type a prompt, or press an example.")
    if len(text) > limit:
        return text[:limit], f"the prompt was cut to {limit:,} characters"
    return text, ""


def read_sampling(
    temperature: Any = DEFAULTS.temperature,
    top_p: Any = DEFAULTS.top_p,
    penalty: Any = DEFAULTS.repetition_penalty,
    tokens: Any = DEFAULTS.max_new_tokens,
    seed: Any = DEFAULTS.seed,
) -> Sampling:
    """Return the sampling settings. Raise InvalidRequest for one that is not a number or is out of range."""
    try:
        return Sampling(
            temperature=float(temperature),
            top_p=float(top_p),
            repetition_penalty=float(penalty),
            max_new_tokens=int(tokens),
            seed=int(seed or 0),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("A sampling setting is not a number.", "Reset the settings.") from error


def read_observe(layer: Any, head: Any) -> Observe | None:
    """Return the attention head to watch. People count from 1; 0 or nothing means none.

    Raise InvalidRequest for a value that is not a number.
    """
    try:
        chosen = (int(layer or 0), int(head or 0))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("The layer or the head is not a number.", "Choose whole numbers.") from error
    return Observe(chosen[0] - 1, chosen[1] - 1) if min(chosen) > 0 else None


def read_pool(pool: Pool, value: Any) -> tuple[str, ...] | None:
    """Return the names of the chosen experts in pool order. None means all, also those added later.

    `value` is a JSON list of names, or empty for all. Raise InvalidRequest for anything else, an empty list or an
    unknown expert.
    """
    if not value:
        return None
    try:
        names = json.loads(str(value))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The choice of experts cannot be read.", "Choose them again.") from error
    if not isinstance(names, list) or not names:
        raise InvalidRequest("No expert is chosen.", "Tick at least one under Experts to choose from, or use all.")
    ready = ready_names(pool)
    for name in names:
        if name not in ready:
            raise InvalidRequest(f"No expert called {str(name)[:60]!r} is ready.", f"Choose among: {', '.join(ready)}.")
    return tuple(name for name in ready if name in names) if len(set(names)) < len(ready) else None


def ready_names(pool: Pool) -> list[str]:
    """Return the names of the experts that can answer now, in pool order."""
    return [expert.name for expert in pool.experts if expert.ready]


def read_weights(text: str, pool: Pool) -> tuple[float, ...]:
    """Return "math=0.7,base=0.3" as one weight per expert of `pool`, 0 where none is named. Raise InvalidRequest."""
    weights = [0.0] * len(pool)
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            weights[pool.index(name.strip())] = float(number)
        except ValueError as error:
            remedy = 'Write weights as "math=0.7,base=0.3".'
            raise InvalidRequest(f"The weight {part!r} cannot be read.", remedy) from error
    return tuple(weights)


def known_router(runtime: "Runtime", name: Any) -> str:
    """Return `name` when such a router exists. Raise InvalidRequest otherwise."""
    names = [info.name for info in runtime.routers()]
    if name not in names:
        raise InvalidRequest(f"No router is called {str(name)[:60]!r}.", f"Choose one of: {', '.join(names)}.")
    return str(name)


def read_serve(value: Any) -> Serve:
    """Return how prompt-level weights are served. Raise InvalidRequest for an unknown way."""
    if value not in SERVES:
        raise InvalidRequest(
            f"Weights cannot be served as {str(value)[:40]!r}.", f"Choose one of: {', '.join(SERVES)}."
        )
    return value  # type: ignore[no-any-return]  # one of the keys


def read_options(value: Any) -> Mapping[str, Any]:
    """Return a router's changed settings from a JSON object, or none for an empty text. Raise InvalidRequest."""
    if not value:
        return {}
    try:
        options = json.loads(str(value))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The router's options cannot be read.", "Reset them.") from error
    if not isinstance(options, dict):
        raise InvalidRequest("The router's options cannot be read.", "Reset them.")
    return {str(name)[:60]: option for name, option in options.items()}


# --- answering ------------------------------------------------------------------------------------------------------


def client_request(
    runtime: "Runtime", prompt: Any, router: Any, *, tokens: Any, temperature: Any, seed: Any
) -> tuple[RunRequest, str]:
    """Return (request, notice) of a client, once the models are loaded. Raise InvalidRequest, NotReady."""
    runtime.wait(LOAD_SECONDS)
    text, notice = checked_prompt(prompt, runtime.settings.max_prompt_chars)
    sampling = read_sampling(temperature=temperature, tokens=tokens, seed=seed)
    return RunRequest(text, known_router(runtime, router), sampling=sampling), notice


def answers(runtime: "Runtime", request: RunRequest, *, session_id: str) -> Iterator[ViewState]:
    """Yield the state of the run after each event. The last state is the whole run. Closing it cancels the run."""
    state = ViewState()
    with closing(runtime.run(request, session_id=session_id)) as events:
        for event in events:
            state = fold(state, event)
            yield state


def partial_json(state: ViewState) -> dict[str, Any] | None:
    """Return the text so far and the newest weights of a running run.

    Return None before there are weights, and when the run is over.
    """
    weights = state.tokens[-1].weights if state.tokens else state.weights
    if weights is None or state.is_over:
        return None
    return {
        "text": state.text,
        "weights": dict(zip(state.pool, map(float, weights), strict=True)),
        "run_id": state.run_id,
    }


def answer_json(state: ViewState, notice: str = "") -> dict[str, Any]:
    """Return a finished run as JSON-ready values, with the notice on its prompt.

    Raise InvalidRequest when the run failed or never ended.
    """
    if state.failed is not None:
        raise InvalidRequest(state.failed.message, state.failed.remedy)
    if state.started is None or state.finished is None or state.decided is None:
        raise InvalidRequest("The run ended without an answer.", "Try again. If it happens again, please report it.")
    layered = [token.layer_weights for token in state.tokens if token.layer_weights is not None]
    return {
        "answer": state.finished.text,
        "router": state.started.router,
        "version": state.started.version,
        "expert": state.top_expert,
        "weights": dict(zip(state.pool, map(float, state.decided.weights), strict=True)),
        "usage": dict(zip(state.pool, map(float, state.finished.usage), strict=True)),
        "layer_weights_shape": state.layer_weights_shape,
        "layer_weights": [layers.astype(float).round(4).tolist() for layers in layered] or None,
        "explanation": f"{explanation(state.decided.evidence, state.pool)} {state.handover}".strip(),
        "tools": [{"expert": t.expert, "query": t.query, "result": t.result, "ok": t.ok} for t in state.tools],
        "timings": state.finished.timings,
        "tokens": state.finished.tokens,
        "prompt_tokens": state.finished.prompt_tokens,
        "template_tokens": state.template_tokens,
        "reason": state.finished.reason,
        "run_id": state.run_id,
        **noted(notice),
    }


def noted(notice: str) -> dict[str, str]:
    """Return the field of an answer that says what was done to its prompt. Nothing when it was taken as it was."""
    return {"notice": notice} if notice else {}


def explanation(evidence: Evidence, pool: tuple[str, ...]) -> str:
    """Return why the router decided so, in words alone. Scores follow the sentence that introduces them."""
    sentence = evidence.sentence
    if not isinstance(evidence, Scores) or not sentence.endswith(":"):
        return sentence
    names = evidence.experts or pool
    scores = ", ".join(f"{name} {score:.2f}" for name, score in zip(names, evidence.scores, strict=False))
    return f"{sentence} {scores}."
