"""Check what a file says about one label, and make the label of it: what all formats that are read share.

A format turns its own row into a flat record with the columns of `as_records`. This module alone says what a valid
record is.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from playground.core.preferences import Verdict
from playground.core.records import LabelRow, Side
from playground.exchange.base import ParsedRow
from playground.store.labels import MAX_RATIONALE, MAX_TAGS
from playground.store.tables.labels import CHOICES, SELECTIONS, SOURCES, STRONGEST

MAX_TEXT = 200_000
UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # a file that gives no time; the import takes its own
SHOWN_CELL = 40
RecordOf = Callable[[Mapping[str, Any]], Mapping[str, Any]]

Choice = Literal[CHOICES]  # type: ignore[valid-type]
Selection = Literal[SELECTIONS]  # type: ignore[valid-type]
Source = Literal[SOURCES]  # type: ignore[valid-type]


class LabelRecord(BaseModel):
    """Hold one label as a file gives it. The names are those of `as_records`; unknown columns are ignored."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=False)

    label_id: str = Field("", max_length=128)
    comparison_id: str = Field("", max_length=128)
    created_at: AwareDatetime = UNKNOWN_TIME
    labeller: str = Field("unknown", min_length=1, max_length=128)
    choice: Choice
    strength: int | None = Field(None, ge=1, le=STRONGEST)
    prompt: str = Field(min_length=1, max_length=MAX_TEXT)
    answer_a: str = Field(max_length=MAX_TEXT)
    answer_b: str = Field(max_length=MAX_TEXT)
    expert_a: str = Field("", max_length=128)
    expert_b: str = Field("", max_length=128)
    router_a: str = Field("", max_length=128)
    router_b: str = Field("", max_length=128)
    version_a: str = Field("", max_length=128)
    version_b: str = Field("", max_length=128)
    usage_a: dict[str, float] = Field(default_factory=dict)
    usage_b: dict[str, float] = Field(default_factory=dict)
    left: Literal["a", "b"] = "a"
    selection: Selection = "manual"
    pair_propensity: float | None = Field(None, gt=0, le=1)
    source: Source = "import"
    source_detail: dict[str, Any] = Field(default_factory=dict)
    revealed_before: bool = False
    blind: bool = True
    lead_ms: int = Field(0, ge=0)
    rationale: str = Field("", max_length=MAX_RATIONALE)
    tags: list[str] = Field(default_factory=list, max_length=MAX_TAGS)
    category: str = Field("", max_length=64)
    run_a: str = Field("", max_length=128)
    run_b: str = Field("", max_length=128)

    @model_validator(mode="after")
    def _fits(self) -> "LabelRecord":
        if self.strength is not None and self.choice not in ("a", "b"):
            raise ValueError("only a choice of a or b has a strength")
        for usage in (self.usage_a, self.usage_b):
            if any(not 0 <= share <= 1 for share in usage.values()) or sum(usage.values()) > 1.001:
                raise ValueError("a usage needs shares from 0 to 1 that sum to at most 1")
        return self


def label_of(record: Mapping[str, Any]) -> LabelRow:
    """Return the label that a record describes. Raise ValidationError that names every wrong column."""
    checked = LabelRecord.model_validate(record)
    return LabelRow(
        label_id=checked.label_id,
        comparison_id=checked.comparison_id,
        created_at=checked.created_at,
        labeller_id=checked.labeller,
        labeller=checked.labeller,
        verdict=Verdict.of(checked.choice, checked.strength),
        prompt=checked.prompt,
        a=_side(checked, "a"),
        b=_side(checked, "b"),
        left=checked.left,
        selection=checked.selection,
        pair_propensity=checked.pair_propensity,
        source=checked.source,
        source_detail=checked.source_detail,
        revealed_before=checked.revealed_before,
        blind=checked.blind,
        lead_ms=checked.lead_ms,
        rationale=checked.rationale,
        tags=tuple(checked.tags),
        category=checked.category,
    )


def parsed(
    found: Iterable[tuple[int, Any]], record_of: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[ParsedRow]:
    """Return every row as a label or as a problem. `found` gives (line, value), `record_of` makes a record of a value.

    `record_of` may raise KeyError for a missing column, and ValueError or TypeError with a sentence.
    """
    return [_parsed(line, value, record_of) for line, value in found]


def _parsed(line: int, value: Any, record_of: RecordOf) -> ParsedRow:
    if isinstance(value, Exception):
        return ParsedRow(line, None, str(value))
    if not isinstance(value, Mapping):
        return ParsedRow(line, None, "this is not an object with columns")
    try:
        return ParsedRow(line, label_of(record_of(value)))
    except ValidationError as error:
        return ParsedRow(line, None, _words(error))
    except KeyError as error:
        return ParsedRow(line, None, f"the column {error.args[0]} is missing")
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        return ParsedRow(line, None, str(error))


def _words(error: ValidationError) -> str:
    told = []
    for wrong in error.errors(include_url=False):
        where = ".".join(map(str, wrong["loc"]))
        seen = "" if wrong["type"] in ("missing", "value_error") else f" (it is {_shown(wrong['input'])})"
        text = "is missing" if wrong["type"] == "missing" else wrong["msg"].removeprefix("Value error, ")
        told.append(f"{where} {text}{seen}" if where else text)
    return "; ".join(told)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CELL else f"{text[:SHOWN_CELL]}…"


def _side(record: LabelRecord, letter: str) -> Side:
    """Return one answer. Without a usage, the expert that is named wrote it alone."""
    usage: dict[str, float] = getattr(record, f"usage_{letter}")
    expert: str = getattr(record, f"expert_{letter}")
    if not usage:
        names = dict.fromkeys(name for name in (record.expert_a, record.expert_b) if name)
        usage = {name: float(name == expert) for name in names}
    return Side(
        run_id=getattr(record, f"run_{letter}"),
        text=getattr(record, f"answer_{letter}"),
        router=getattr(record, f"router_{letter}"),
        version=getattr(record, f"version_{letter}"),
        experts=tuple(usage),
        usage=np.array(list(usage.values()), np.float32),
    )


def text_of_turns(turns: Any) -> str:
    """Return a conversation as one prompt: the text of a single user turn, else every turn with its role.

    `turns` are dictionaries with role and content. Raise ValueError for anything else.
    """
    if not isinstance(turns, list | tuple) or not turns:
        raise ValueError("a conversation needs at least one turn")
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str) or not turn.get("role"):
            raise ValueError("each turn of a conversation needs a role and a text as content")
    if len(turns) == 1 and turns[0]["role"] == "user":
        return str(turns[0]["content"])
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def json_cell(text: str, default: Any) -> Any:
    """Return the JSON value of a cell, or `default` for an empty one. Raise ValueError for anything else."""
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is not JSON") from error
