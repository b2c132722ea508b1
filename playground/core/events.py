"""Define what happens during a run as a stream of frozen values.

Page, trace store, command line and tests read only these events. Events carry plain values and numpy arrays. They
never carry modules, sessions, device tensors or HTML. `to_dict` gives the format for storage and transfer.
"""

import base64
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from playground.core.values import EVIDENCE, Evidence, Level, Scheme

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Event:
    """Hold what every event has: `seq` counts from 0 within a run, `at` is seconds since the start (monotonic).

    An expert outside the model leaves these three at their defaults. The recorder of the run fills them in.
    """

    run_id: str = ""
    seq: int = 0
    at: float = 0.0


@dataclass(frozen=True, eq=False)
class RunStarted(Event):
    """Report the request as it will be served.

    `layers` and `heads` give the size of the pictures. `pool` holds the names of the experts in order. `held` (E,)
    holds the weights that a person set for `held_layers` only; both are empty otherwise. `options` are the settings of
    the router that were changed for this run, as (name, value).
    """

    prompt: str
    router: str
    version: str
    level: Level
    pool: tuple[str, ...]
    seed: int
    layers: int
    heads: int
    observed_layer: int = -1
    observed_head: int = -1
    held: tuple[float, ...] = ()
    held_layers: tuple[int, ...] = ()
    options: tuple[tuple[str, Any], ...] = field(default=(), metadata={"sparse": True})


@dataclass(frozen=True, eq=False)
class Decided(Event):
    """Report the decision of the router: weights (E,), the propensity (E,) it was served from, and the evidence.

    `shadow` is a version that decided beside it without serving, and `shadow_weights` (E,) are its weights.
    """

    weights: np.ndarray
    propensity: np.ndarray
    scheme: Scheme
    evidence: Evidence
    uncertainty: np.ndarray | None = None
    shadow: str = field(default="", metadata={"sparse": True})
    shadow_weights: tuple[float, ...] = field(default=(), metadata={"sparse": True})


@dataclass(frozen=True, eq=False)
class PromptRead(Event):
    """Report that the model has read the prompt.

    `tokens` are the T token texts, chat template included. They join to the whole text. A token that does not complete
    its character has an empty text. `own` is (first, end): the tokens of the visitor's own text. `layer_weights`
    (T, L, E) float16 are a gate's weights on the prompt's tokens; None when no gate ran.
    """

    tokens: tuple[str, ...]
    layer_weights: np.ndarray | None = None
    own: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class ToolCalled(Event):
    """Report that a tool expert answered (`ok`) or refused.

    `query` is what the tool understood. `seconds` is how long it took.
    """

    expert: str
    query: str
    result: str
    ok: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class TokenGenerated(Event):
    """Report one token of the answer.

    `weights` (E,) float32 is the mean over layers for a gate. `layer_weights` (L, E) float16 is None unless a gate
    ran. `attention` (K,) float16 is the row of the observed head over the K tokens so far. `alternatives` are the five
    likeliest tokens as (text, probability). `entropy` is that of the next-token distribution, in nats.
    """

    index: int
    text: str
    token_id: int
    weights: np.ndarray
    layer_weights: np.ndarray | None = None
    attention: np.ndarray | None = None
    logprob: float = 0.0
    entropy: float = 0.0
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Finished(Event):
    """Report the end of the run.

    `usage` (E,) is what labels train on. `reason` is 'stop', 'length' or 'cancelled'. `timings` holds seconds:
    encode_s, decide_s, first_token_s, total_s.
    """

    text: str
    usage: np.ndarray
    tokens: int
    prompt_tokens: int
    timings: dict[str, float]
    reason: str
    cost: float | None = None


@dataclass(frozen=True, eq=False)
class Failed(Event):
    """Report that the run failed at `stage`. `text` is the part of the answer that had arrived."""

    stage: str
    message: str
    remedy: str
    text: str = ""


EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (RunStarted, Decided, PromptRead, ToolCalled, TokenGenerated, Finished, Failed)
}


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        return {"dtype": data.dtype.str, "shape": list(data.shape), "b64": base64.b64encode(data.tobytes()).decode()}
    if isinstance(value, Evidence):
        return {"evidence": value.kind, **{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and "b64" in value:
        flat = np.frombuffer(base64.b64decode(value["b64"]), dtype=np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).copy()
    if isinstance(value, dict) and "evidence" in value:
        fields = {key: _decode(item) for key, item in value.items() if key != "evidence"}
        return EVIDENCE[value["evidence"]](**fields)
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    return value


def to_dict(event: Event) -> dict[str, Any]:
    """Return the event as JSON-ready values. Arrays become base64 with dtype and shape.

    An empty sparse field is left out.
    """
    values = {f.name: (getattr(event, f.name), f.metadata.get("sparse")) for f in dataclasses.fields(event)}
    fields = {name: _encode(value) for name, (value, is_sparse) in values.items() if not is_sparse or value}
    return {"event": type(event).__name__, "schema": SCHEMA_VERSION, **fields}


def from_dict(values: dict[str, Any]) -> Event:
    """Return the event that `to_dict` was given. Unknown fields are ignored. Raise KeyError for an unknown event."""
    kind = EVENTS[values["event"]]
    known = {f.name for f in dataclasses.fields(kind)}
    return kind(**{key: _decode(value) for key, value in values.items() if key in known})


def events_to_json(events: Iterable[Event]) -> str:
    """Return a run as one JSON text, as it is stored and exported."""
    return json.dumps({"events": [to_dict(event) for event in events]}, ensure_ascii=False)


def events_from_json(text: str) -> list[Event]:
    """Return the events that `events_to_json` wrote. Raise ValueError for any other text."""
    try:
        return [from_dict(item) for item in json.loads(text)["events"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this text is not a recorded run: {error!r}") from error
