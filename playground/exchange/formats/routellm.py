"""Write battles as RouteLLM trains on them: two models, prompt and responses as lists, three columns of who won.

Kept: prompt, answers, experts, who won. Lost: everything else, also the labeller and the time. "Both are bad" becomes a
tie, so it does not come back. A skip has no place.

Source: RouteLLM, battles of the arena's 55,000 and of its judge; Ong et al., arXiv:2406.18665.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import read_json, write_list
from playground.exchange.record import parsed
from playground.exchange.records import as_records

WON = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}


@exchange_format("routellm", title="RouteLLM", ending=".routellm.json", is_table=False)
class RouteLlmBattles(ExchangeFormat):
    """Write one JSON list of battles. `prompt` and responses are JSON lists of turns, written as texts."""

    carries = frozenset({"comparison_id", "prompt", "choice", "answer_a", "answer_b", "expert_a", "expert_b"})

    def holds(self, row: LabelRow) -> bool:
        """Return whether the vote prefers an answer or calls them equal."""
        return row.verdict.choice in WON.values()

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the list, a battle on each line."""
        return write_list([_battle(record) for record in as_records([row for row in rows if self.holds(row)])])

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every battle. Only the first turn counts, as RouteLLM itself has it."""
        return parsed(read_json(data), _record)


def _battle(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": record["comparison_id"],
        "model_a": record["expert_a"],
        "model_b": record["expert_b"],
        "prompt": json.dumps([record["prompt"]]),
        "response_a": json.dumps([record["answer_a"]]),
        "response_b": json.dumps([record["answer_b"]]),
        **{column: int(record["choice"] == choice) for column, choice in WON.items()},
    }


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    won = [choice for column, choice in WON.items() if int(row[column]) == 1]
    if len(won) != 1:
        raise ValueError(f"exactly one of {', '.join(WON)} must be 1")
    return {
        "comparison_id": str(row.get("id") or ""),
        "choice": won[0],
        "prompt": _first(row, "prompt"),
        "answer_a": _first(row, "response_a"),
        "answer_b": _first(row, "response_b"),
        "expert_a": row["model_a"],
        "expert_b": row["model_b"],
    }


def _first(row: Mapping[str, Any], name: str) -> str:
    turns = json.loads(row[name]) if isinstance(row[name], str) else row[name]
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        raise ValueError(f"{name} must be a JSON list of texts")
    return turns[0]
