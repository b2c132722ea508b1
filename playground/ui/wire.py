"""Makes the lines that the page is drawn from: one JSON record for each event, in a text that only grows.

The browser gets deltas only. Weights are one byte each (255 is 1, base64); full precision stays on the server for
export. A reopened run sends all its lines at once, so it cannot look different from the live one. The browser's side is
`static/run/wire.js`; `docs/wire-format.md` is made from this module.
"""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

import numpy as np

from playground.core.events import Decided, Event, Failed, Finished, PromptRead, RunStarted, TokenGenerated, ToolCalled
from playground.core.route_measures import consent, entropy, overlap
from playground.core.values import Pool
from playground.ui.palette import looks
from playground.ui.views.why import why_html

PROMPT_BYTES = 120_000  # most bytes of prompt weights that are sent: 800 tokens of 30 layers and 5 experts

Bytes = str  # base64 of one byte for each value
Look = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WireLine:
    """One line. A key whose value is None is left out."""

    kind: ClassVar[str]
    at: Annotated[float | None, "seconds since the run was asked for"] = None


@dataclass(frozen=True, kw_only=True)
class OpeningLine(WireLine):
    """The first line of a stream. The browser removes what was drawn before."""

    kind: ClassVar[str] = "opening"
    nonce: Annotated[str, "differs from the stream before, so that the browser starts afresh"]
    note: Annotated[str, "a few words before the stage line, such as `reopened`"] = ""
    example: Annotated[bool, "whether this is the recorded run, which no server can export"] = False


@dataclass(frozen=True, kw_only=True)
class WaitingLine(WireLine):
    """What the run waits for."""

    kind: ClassVar[str] = "waiting"
    sentence: Annotated[str, "the words that are shown"]
    share: Annotated[float | None, "how much of it is done, 0 to 1; absent when that is not known"] = None


@dataclass(frozen=True, kw_only=True)
class StartedLine(WireLine):
    """A run began."""

    kind: ClassVar[str] = "started"
    id: Annotated[str, "the run's id"]
    prompt: Annotated[str, "what was asked"]
    router: Annotated[str, "the router's name"]
    version: Annotated[str, "the router's version"]
    level: Annotated[str, "`prompt`, `gate` or `controller`"]
    pool: Annotated[list[Look], "for each expert its name, title, mark, slot (colour, -1 for none), kind and icon"]
    layers: Annotated[int, "layers of the model"]
    heads: Annotated[int, "attention heads of a layer"]
    observed_layer: Annotated[int, "layer of the observed head, from 0; -1 for none"]
    observed_head: Annotated[int, "the observed head, from 0; -1 for none"]


@dataclass(frozen=True, kw_only=True)
class DecidedLine(WireLine):
    """The router decided. Lists are in the order of the pool."""

    kind: ClassVar[str] = "decided"
    weights: Annotated[list[float] | None, "the weight of each expert"]
    propensity: Annotated[list[float] | None, "the share with which each expert could be drawn"] = None
    uncertainty: Annotated[list[float] | None, "half the width of the interval around each weight"] = None
    scheme: Annotated[str, "`argmax`, `sample`, `mixture` or `override`"]
    sentence: Annotated[str, "why, in one sentence"]
    why: Annotated[str, "the evidence as escaped HTML"]


@dataclass(frozen=True, kw_only=True)
class PromptLine(WireLine):
    """The prompt was read. Keys after `own` are present when a gate weighed the prompt."""

    kind: ClassVar[str] = "prompt"
    tokens: Annotated[list[str], "the text of each token, the chat's frame included"]
    own: Annotated[list[int], "first and last + 1 of the tokens that the visitor typed"]
    weights: Annotated[Bytes | None, "mean weights over layers (tokens × experts)"] = None
    leaders: Annotated[list[int] | None, "for each token the expert with the most weight"] = None
    layers: Annotated[
        Bytes | None, "weights (tokens × layers × experts); for a long prompt, of the last tokens only"
    ] = None
    layer_entropy: Annotated[Bytes | None, "entropy of each layer as a share of ln E (tokens × layers)"] = None
    measures: Annotated[list[Any] | None, "for each token its entropy, agreement and share of leading layers"] = None


@dataclass(frozen=True, kw_only=True)
class ToolLine(WireLine):
    """A tool was called."""

    kind: ClassVar[str] = "tool"
    expert: Annotated[str, "the tool's title"]
    mark: Annotated[str, "its two letters"]
    slot: Annotated[int, "its colour, -1 for none"]
    query: Annotated[str, "what it was asked"]
    result: Annotated[str, "what it returned, or why it refused"]
    ok: Annotated[bool, "whether it could answer"]
    seconds: Annotated[float, "how long it took"]


@dataclass(frozen=True, kw_only=True)
class TokenLine(WireLine):
    """A token was written. A blind comparison has its text only."""

    kind: ClassVar[str] = "token"
    text: Annotated[str, "the token"]
    weights: Annotated[Bytes | None, "weights (experts)"] = None
    leader: Annotated[int | None, "the expert with the most weight"] = None
    layers: Annotated[Bytes | None, "weights (layers × experts), from a gate"] = None
    layer_entropy: Annotated[Bytes | None, "entropy of each layer's weights as a share of ln E"] = None
    measures: Annotated[list[float] | None, "entropy in nats, agreement of layers, share of leading layers"] = None
    attention: Annotated[Bytes | None, "how much the observed head looks at each earlier token"] = None
    logprob: Annotated[float | None, "log-probability of the token"] = None
    entropy: Annotated[float | None, "entropy of the next token in nats"] = None
    alternatives: Annotated[list[Any] | None, "the likeliest tokens as pairs of text and probability"] = None


@dataclass(frozen=True, kw_only=True)
class FinishedLine(WireLine):
    """A run ended. A blind comparison has `text` and `cut` only."""

    kind: ClassVar[str] = "finished"
    text: Annotated[str, "the whole answer"]
    usage: Annotated[list[float] | None, "the share each expert had in the answer"] = None
    tokens: Annotated[int | None, "tokens of the answer"] = None
    prompt_tokens: Annotated[int | None, "tokens of the prompt"] = None
    timings: Annotated[dict[str, float] | None, "seconds: `encode_s`, `decide_s`, `first_token_s`, `total_s`"] = None
    reason: Annotated[str | None, "`stop`, `length` or `cancelled`"] = None
    cost: Annotated[float | None, "dollars, when a remote model was paid"] = None
    cut: Annotated[bool | None, "whether it was stopped early (blind comparisons)"] = None


@dataclass(frozen=True, kw_only=True)
class FailedLine(WireLine):
    """Something went wrong. What has arrived stays."""

    kind: ClassVar[str] = "failed"
    message: Annotated[str, "what happened"]
    remedy: Annotated[str, "what to do"] = ""
    stage: Annotated[str | None, "what was being done"] = None


@dataclass(frozen=True, kw_only=True)
class ChangeLine(WireLine):
    """What a counterfactual changed."""

    kind: ClassVar[str] = "change"
    sentence: Annotated[str, "the words above its answer"]


@dataclass(frozen=True, kw_only=True)
class LikelihoodsLine(WireLine):
    """How likely each of two routings finds each answer: log-probabilities per token. Absent for a tool's answer."""

    kind: ClassVar[str] = "likelihoods"
    sentence: Annotated[str | None, "in place of figures: that they are being computed, or why there are none"] = None
    first_by_first: Annotated[float | None, "the first answer under the first routing"] = None
    first_by_second: Annotated[float | None, "the first answer under the second routing"] = None
    second_by_first: Annotated[float | None, "the second answer under the first routing"] = None
    second_by_second: Annotated[float | None, "the second answer under the second routing"] = None


@dataclass(frozen=True, kw_only=True)
class SideLine(WireLine):
    """One side of a blind comparison began. It does not say who answers."""

    kind: ClassVar[str] = "side"


@dataclass(frozen=True, kw_only=True)
class PointLine(WireLine):
    """One point of a learning curve."""

    kind: ClassVar[str] = "point"
    step: Annotated[int, "steps done"]
    steps: Annotated[int, "steps in all"]
    training_loss: Annotated[float | None, "loss on the training labels"] = None
    held_out_loss: Annotated[float | None, "loss on the validation labels, which the training watches"] = None
    held_out_accuracy: Annotated[float | None, "share of the validation labels that the router agrees with"] = None


@dataclass(frozen=True, kw_only=True)
class NoteLine(WireLine):
    """A sentence under a learning curve."""

    kind: ClassVar[str] = "note"
    sentence: Annotated[str, "the words"]


LINES: tuple[type[WireLine], ...] = tuple(WireLine.__subclasses__())


def keys_of(line: type[WireLine]) -> list[str]:
    """Return the keys that a line may have beside `kind` and `at`."""
    return [field.name for field in fields(line) if field.name != "at"]


def wire_markdown() -> str:
    """Return the page of the documentation on the lines: a table for each kind."""
    parts = [
        "# Wire format",
        "The page draws a run from a text that only grows: one JSON record a line, in the order of the events.\n"
        "The declarations are in `playground/ui/wire.py`, and this page is made from them. The browser reads the same\n"
        "keys in `static/run/wire.js`. A kind or key that the browser does not know is ignored.",
        "- Every record has `kind`. Records of a run have `at`: seconds since the run was asked for.\n"
        "- A key without a value is left out.\n"
        "- *bytes* are base64 of one byte for each value, row by row; 255 is 1.",
    ]
    for line in LINES:
        hints = get_type_hints(line, include_extras=True)
        rows = "".join(f"| `{key}` | {get_args(hints[key])[1]} |\n" for key in keys_of(line))
        table = f"\n\n| key | value |\n| --- | --- |\n{rows}".rstrip() if rows else ""
        parts.append(f"## `{line.kind}`\n\n{(line.__doc__ or '').strip()}{table}")
    return "\n\n".join(parts) + "\n"


def packed(values: np.ndarray | None) -> Bytes | None:
    """Return values in 0…1 as base64 of one byte each, row by row; None stays None."""
    if values is None:
        return None
    clipped = np.clip(np.nan_to_num(np.asarray(values, np.float32)), 0, 1)
    return base64.b64encode(np.rint(clipped * 255).astype(np.uint8).tobytes()).decode()


def _rounded(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else [round(float(value), 4) for value in values]


def _started(event: RunStarted, pool: Pool) -> StartedLine:
    return StartedLine(
        id=event.run_id,
        prompt=event.prompt,
        router=event.router,
        version=event.version,
        level=event.level,
        pool=[vars(look) | {"icon": look.icon} for look in looks(event.pool, pool)],
        layers=event.layers,
        heads=event.heads,
        observed_layer=event.observed_layer,
        observed_head=event.observed_head,
    )


def _decided(event: Decided, pool: Pool) -> DecidedLine:
    return DecidedLine(
        weights=_rounded(event.weights),
        propensity=_rounded(event.propensity),
        uncertainty=_rounded(event.uncertainty),
        scheme=event.scheme,
        sentence=event.evidence.sentence,
        why=why_html(event.evidence, pool),
    )


def _routing(layered: np.ndarray) -> dict[str, Any]:
    """Return the keys of a line that draw a gate's weights (..., L, E).

    `layer_entropy` is a share of ln E for each layer. `measures` are the mean entropy in nats, the agreement of layers,
    and the share of layers that name the token's expert.
    """
    values = layered.astype(np.float64)
    nats = entropy(values)
    measures = np.stack([nats.mean(axis=-1), overlap(values), consent(values)], axis=-1)
    return {
        "layers": packed(values),
        "layer_entropy": packed(nats / max(np.log(values.shape[-1]), 1e-9)),
        "measures": measures.round(3).tolist(),
    }


def _prompt_read(event: PromptRead, _: Pool) -> PromptLine:
    read = PromptLine(tokens=list(event.tokens), own=list(event.own))
    if event.layer_weights is None:
        return read
    layered = event.layer_weights.astype(np.float32)
    mean = layered.mean(axis=1)
    # of a long prompt, layers are sent for the last tokens only, those the answer follows
    kept = max(1, PROMPT_BYTES // layered[0].size)
    leaders = mean.argmax(axis=-1).tolist()
    return replace(read, weights=packed(mean), leaders=leaders, **_routing(layered[-kept:]))


def _tool(event: ToolCalled, pool: Pool) -> ToolLine:
    look = looks([event.expert], pool)[0]
    return ToolLine(
        expert=look.title,
        mark=look.mark,
        slot=look.slot,
        query=event.query,
        result=event.result,
        ok=event.ok,
        seconds=round(event.seconds, 4),
    )


def _token(event: TokenGenerated, _: Pool) -> TokenLine:
    token = TokenLine(
        text=event.text,
        weights=packed(event.weights),
        leader=int(event.weights.argmax()),
        attention=packed(event.attention),
    )
    if event.layer_weights is not None:
        token = replace(token, **_routing(event.layer_weights))
    if not event.alternatives:
        return token
    likely = [[text, round(probability, 4)] for text, probability in event.alternatives]
    return replace(token, logprob=round(event.logprob, 3), entropy=round(event.entropy, 3), alternatives=likely)


def _finished(event: Finished, _: Pool) -> FinishedLine:
    return FinishedLine(
        text=event.text,
        usage=_rounded(event.usage),
        tokens=event.tokens,
        prompt_tokens=event.prompt_tokens,
        timings={name: round(value, 4) for name, value in event.timings.items()},
        reason=event.reason,
        cost=event.cost,
    )


def _failed(event: Failed, _: Pool) -> FailedLine:
    return FailedLine(message=event.message, remedy=event.remedy, stage=event.stage)


MAKERS: dict[type[Event], Callable[[Any, Pool], WireLine]] = {
    RunStarted: _started,
    Decided: _decided,
    PromptRead: _prompt_read,
    ToolCalled: _tool,
    TokenGenerated: _token,
    Finished: _finished,
    Failed: _failed,
}


def record(line: WireLine) -> str:
    """Return one line of the stream, with its line break."""
    kept = {field.name: getattr(line, field.name) for field in fields(line) if getattr(line, field.name) is not None}
    return json.dumps({"kind": line.kind} | kept, ensure_ascii=False, separators=(",", ":")) + "\n"


def line(event: Event, pool: Pool) -> str:
    """Return the line that draws `event`. Return an empty text for an event that the page does not know."""
    make = MAKERS.get(type(event))
    return record(replace(make(event, pool), at=round(event.at, 3))) if make else ""


def lines(events: Iterable[Event], pool: Pool) -> str:
    """Return all lines of a run, as they would have arrived one by one."""
    return "".join(line(event, pool) for event in events)


def opening(nonce: str, *, note: str = "", example: bool = False) -> str:
    """Return the first line of a stream."""
    return record(OpeningLine(nonce=nonce, note=note, example=example))


def waiting(sentence: str, share: float | None = None) -> str:
    """Return a line that says what the run waits for, with `share` in 0…1 when it is known."""
    return record(WaitingLine(sentence=sentence, share=None if share is None else round(share, 3)))


def failure(stage: str, message: str, remedy: str) -> str:
    """Return a line that says what went wrong while `stage`, and what to do."""
    return record(FailedLine(message=message, remedy=remedy, stage=stage))


def blind_line(event: Event) -> str:
    """Return the line of one side of a blind comparison: its text, that it ended, and whether it was stopped early.

    Nothing in it tells who is answering.
    """
    match event:
        case RunStarted():
            return record(SideLine())
        case TokenGenerated():
            return record(TokenLine(text=event.text))
        case Finished():
            return record(FinishedLine(text=event.text, cut=event.reason == "cancelled"))
        case Failed():
            return record(FailedLine(message="This answer could not be completed."))
    return ""
