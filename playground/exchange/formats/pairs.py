"""Write labels as plain pairs, as research sets have them: prompt, two models, two responses, winner, annotator.

`bench preferences` reads this form. Kept: prompt, answers, experts, verdict with its strength, labeller, category.
Lost: time, reason, routers and versions, blended usage, the side that was shown left, and how the pair was drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import read_json, write_lines
from playground.exchange.record import parsed
from playground.exchange.records import as_records

COLUMNS = {  # theirs: ours
    "id": "label_id",
    "pair_id": "comparison_id",
    "prompt": "prompt",
    "model_a": "expert_a",
    "model_b": "expert_b",
    "response_a": "answer_a",
    "response_b": "answer_b",
    "winner": "choice",
    "strength": "strength",
    "annotator": "labeller",
    "task": "category",
}


@exchange_format("pairs", title="Pairs", ending=".pairs.jsonl", is_table=False)
class PlainPairs(ExchangeFormat):
    """Write one JSON object for each label."""

    carries = frozenset({*COLUMNS.values(), "target"})

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the lines."""
        return write_lines({theirs: record[ours] for theirs, ours in COLUMNS.items()} for record in as_records(rows))

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every row of JSON lines or of one JSON list."""
        return parsed(read_json(data), _record)


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {ours: row[theirs] for theirs, ours in COLUMNS.items() if row.get(theirs) is not None}
    if found.get("choice") not in ("a", "b"):
        found.pop("strength", None)  # some sets give a tie the strength 0
    return found | {name: str(found[name]) for name in ("label_id", "comparison_id", "labeller") if name in found}
