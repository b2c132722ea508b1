"""Events as append-only lines: one line of compact JSON per event, drawn by `static/run.js`.

The browser gets deltas only, weights as one byte each (w·255, base64); full precision stays on the server for export. A
reopened run sends all its lines at once, so it cannot look different from the live one.
"""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from playground.core.events import (
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
    ToolCalled,
)
from playground.core.route_measures import consent, entropy, overlap
from playground.core.values import Pool
from playground.ui.palette import looks
from playground.ui.views.why import why_html

PROMPT_BYTES = 120_000  # weights of a prompt that travel: 800 tokens of 30 layers and 5 experts


def packed(values: np.ndarray | None) -> str | None:
    """Values in 0…1 as base64 of one byte each, row-major; None stays None."""
    if values is None:
        return None
    clipped = np.clip(np.nan_to_num(np.asarray(values, np.float32)), 0, 1)
    return base64.b64encode(np.rint(clipped * 255).astype(np.uint8).tobytes()).decode()


def _rounded(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else [round(float(value), 4) for value in values]


def _started(event: RunStarted, pool: Pool) -> dict[str, Any]:
    experts = [vars(look) | {"icon": look.icon} for look in looks(event.pool, pool)]
    return {
        "k": "run",
        "id": event.run_id,
        "prompt": event.prompt,
        "router": event.router,
        "version": event.version,
        "level": event.level,
        "pool": experts,
        "layers": event.layers,
        "heads": event.heads,
        "ol": event.observed_layer,
        "oh": event.observed_head,
    }


def _decided(event: Decided, pool: Pool) -> dict[str, Any]:
    return {
        "k": "dec",
        "w": _rounded(event.weights),
        "p": _rounded(event.propensity),
        "u": _rounded(event.uncertainty),
        "scheme": event.scheme,
        "sentence": event.evidence.sentence,
        "why": why_html(event.evidence, pool),
    }


def _routing(layered: np.ndarray) -> dict[str, Any]:
    """What is drawn of a gate's weights (..., L, E): per layer the weights and their entropy as a share of log E, and
    as numbers (nats, agreement of layers, share of layers that name the token's expert)."""
    values = layered.astype(np.float64)
    nats = entropy(values)
    measures = np.stack([nats.mean(axis=-1), overlap(values), consent(values)], axis=-1)
    return {
        "l": packed(values),
        "h": packed(nats / max(np.log(values.shape[-1]), 1e-9)),
        "m": measures.round(3).tolist(),
    }


def _prompt_read(event: PromptRead, _: Pool) -> dict[str, Any]:
    shown: dict[str, Any] = {"k": "read", "t": list(event.tokens), "own": list(event.own), "w": None}
    if event.layer_weights is not None:
        layered = event.layer_weights.astype(np.float32)
        mean = layered.mean(axis=1)
        # of a long prompt only the end travels layer by layer: the last tokens are the ones the answer follows
        kept = max(1, PROMPT_BYTES // layered[0].size)
        shown |= {"w": packed(mean), "e": mean.argmax(axis=-1).tolist(), **_routing(layered[-kept:])}
    return shown


def _tool(event: ToolCalled, pool: Pool) -> dict[str, Any]:
    look = looks([event.expert], pool)[0]
    fields = {"expert": look.title, "mark": look.mark, "slot": look.slot, "q": event.query, "r": event.result}
    return {"k": "tool", **fields, "ok": event.ok, "s": round(event.seconds, 4)}


def _token(event: TokenGenerated, _: Pool) -> dict[str, Any]:
    record: dict[str, Any] = {"k": "tok", "s": event.text, "w": packed(event.weights), "e": int(event.weights.argmax())}
    if event.layer_weights is not None:
        record |= _routing(event.layer_weights)
    if event.attention is not None:
        record["a"] = packed(event.attention)
    if event.alternatives:
        record |= {"p": round(event.logprob, 3), "n": round(event.entropy, 3)}
        record["x"] = [[text, round(probability, 4)] for text, probability in event.alternatives]
    return record


def _finished(event: Finished, _: Pool) -> dict[str, Any]:
    return {
        "k": "end",
        "text": event.text,
        "u": _rounded(event.usage),
        "tokens": event.tokens,
        "prompt_tokens": event.prompt_tokens,
        "timings": {name: round(value, 4) for name, value in event.timings.items()},
        "reason": event.reason,
        "cost": event.cost,
    }


def _failed(event: Failed, _: Pool) -> dict[str, Any]:
    return {"k": "fail", "stage": event.stage, "m": event.message, "remedy": event.remedy}


RECORDS: dict[type[Event], Callable[[Any, Pool], dict[str, Any]]] = {
    RunStarted: _started,
    Decided: _decided,
    PromptRead: _prompt_read,
    ToolCalled: _tool,
    TokenGenerated: _token,
    Finished: _finished,
    Failed: _failed,
}


def record(**fields: Any) -> str:
    """One line of the stream."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def line(event: Event, pool: Pool) -> str:
    """The line that draws `event`; empty for an event the page does not know."""
    build = RECORDS.get(type(event))
    return record(**build(event, pool), at=round(event.at, 3)) if build else ""


def lines(events: Iterable[Event], pool: Pool) -> str:
    """All lines of a run, as they would have arrived one by one."""
    return "".join(line(event, pool) for event in events)


def opening(nonce: str, *, note: str = "", example: bool = False) -> str:
    """The first line of a stream. `nonce` makes it differ from the one before, so the browser starts afresh."""
    return record(k="new", n=nonce, note=note, example=example)


def waiting(sentence: str, share: float | None = None) -> str:
    """A line that says what is waited for; `share` in 0…1 when it can be told."""
    return record(k="wait", s=sentence, f=None if share is None else round(share, 3))


def blind_line(event: Event) -> str:
    """The line of one side of a blind comparison: the text, that it ended and whether the vote ended it. Nothing that
    tells who is answering."""
    match event:
        case RunStarted():
            return record(k="side")
        case TokenGenerated():
            return record(k="tok", s=event.text)
        case Finished():
            return record(k="end", text=event.text, cut=event.reason == "cancelled")
        case Failed():
            return record(k="fail", m="This answer could not be completed.", remedy="")
    return ""
