"""What happens during a run, as a stream of frozen values.

Everything downstream (page, trace store, HTTP, command line, tests) reads only these. They carry plain values and numpy
arrays, never modules, sessions, device tensors or HTML. `to_dict` is the wire and storage format.
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
    """`seq` counts from 0 within a run; `at` is seconds since the run started (monotonic).

    An expert outside the model leaves these three at their defaults: the recorder of the run fills them in.
    """

    run_id: str = ""
    seq: int = 0
    at: float = 0.0


@dataclass(frozen=True, eq=False)
class RunStarted(Event):
    """The request as it will be served. `layers` and `heads` size the pictures; `pool` are expert names in order.

    `held` (E,) are weights that a person set for `held_layers` alone; both are empty otherwise. `options` are the
    router's settings that were changed for this run, (name, value) each.
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
    """The router's decision: weights (E,), the propensity (E,) it was served from, and why."""

    weights: np.ndarray
    propensity: np.ndarray
    scheme: Scheme
    evidence: Evidence
    uncertainty: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PromptRead(Event):
    """The prompt went through the model. `tokens` are its T token texts, chat template included; from the first of
    `own` to before the second they are the visitor's.

    `layer_weights` (T, L, E) float16 are a gate's weights on the prompt's tokens; None when no gate ran.
    """

    tokens: tuple[str, ...]
    layer_weights: np.ndarray | None = None
    own: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class ToolCalled(Event):
    """A tool expert answered (`ok`) or refused; `query` is what it understood, `seconds` what it took."""

    expert: str
    query: str
    result: str
    ok: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class TokenGenerated(Event):
    """One token of the answer.

    `weights` (E,) float32, mean over layers for a gate; `layer_weights` (L, E) float16 for a gate, else None;
    `attention` (K,) float16 is the observed head's row over the K tokens so far; `alternatives` are the five likeliest
    (text, probability); `entropy` is of the next-token distribution, in nats.
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
    """The run ended. `usage` (E,) is what labels train on; `reason` is 'stop', 'length' or 'cancelled'.

    `timings` in seconds: encode_s, decide_s, first_token_s, total_s.
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
    """The run broke at `stage`; `text` is what had arrived."""

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
    """The event as JSON-ready values; arrays as base64 with dtype and shape. An empty sparse field is left out."""
    values = {f.name: (getattr(event, f.name), f.metadata.get("sparse")) for f in dataclasses.fields(event)}
    fields = {name: _encode(value) for name, (value, is_sparse) in values.items() if not is_sparse or value}
    return {"event": type(event).__name__, "schema": SCHEMA_VERSION, **fields}


def from_dict(values: dict[str, Any]) -> Event:
    """The event `to_dict` was given. Raises KeyError for an unknown event; fields it does not know are left out."""
    kind = EVENTS[values["event"]]
    known = {f.name for f in dataclasses.fields(kind)}
    return kind(**{key: _decode(value) for key, value in values.items() if key in known})


def events_to_json(events: Iterable[Event]) -> str:
    """A run as one JSON text, as it is stored and exported."""
    return json.dumps({"events": [to_dict(event) for event in events]}, ensure_ascii=False)


def events_from_json(text: str) -> list[Event]:
    """The run that `events_to_json` wrote. Raises ValueError when the text is something else."""
    try:
        return [from_dict(item) for item in json.loads(text)["events"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is not a recorded run: {error!r}") from error
