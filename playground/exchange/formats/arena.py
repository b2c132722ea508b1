"""Write battles as Chatbot Arena publishes them, as JSON and as Parquet: question, two models, two conversations.

Kept: prompt, answers, experts, who won, labeller, time, whether it was blind. Lost: how much better, the reason,
routers and versions, blended usage, which side was shown left, and how the pair was drawn. A skip has no place.
Columns of moderation are empty, because nothing here moderates.

Source: the data set card of chatbot_arena_conversations, 33,000 battles.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import read_json, read_parquet, write_list, write_parquet
from playground.exchange.record import parsed, text_of_turns
from playground.exchange.records import as_records

if TYPE_CHECKING:
    import pyarrow as pa

WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie", "bad": "tie (bothbad)"}
CHOICES = {winner: choice for choice, winner in WINNERS.items()}
CARRIED = frozenset(
    {"comparison_id", "prompt", "choice", "answer_a", "answer_b", "expert_a", "expert_b"}
    | {"labeller", "created_at", "blind"}
)


def _battle(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "question_id": record["comparison_id"],
        "model_a": record["expert_a"],
        "model_b": record["expert_b"],
        "winner": WINNERS[record["choice"]],
        "judge": record["labeller"],
        "conversation_a": _conversation(record["prompt"], record["answer_a"]),
        "conversation_b": _conversation(record["prompt"], record["answer_b"]),
        "turn": 1,
        "anony": record["blind"],
        "language": None,
        "tstamp": datetime.fromisoformat(record["created_at"]).timestamp(),
        "openai_moderation": None,
        "toxic_chat_tag": None,
    }


def _conversation(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"content": prompt, "role": "user"}, {"content": answer, "role": "assistant"}]


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    sides = [_split(row[f"conversation_{letter}"]) for letter in "ab"]
    if sides[0][0] != sides[1][0]:
        raise ValueError("the two conversations differ before the last answer, so they are no comparison")
    if row["winner"] not in CHOICES:
        raise ValueError(f"winner must be one of: {', '.join(CHOICES)}")
    record = {
        "comparison_id": str(row.get("question_id") or ""),
        "labeller": str(row.get("judge") or "unknown"),
        "choice": CHOICES[row["winner"]],
        "prompt": sides[0][0],
        "answer_a": sides[0][1],
        "answer_b": sides[1][1],
        "expert_a": row["model_a"],
        "expert_b": row["model_b"],
        "blind": row.get("anony", True) is not False,
    }
    if row.get("tstamp") is not None:
        record["created_at"] = datetime.fromtimestamp(float(row["tstamp"]), UTC)
    return record


def _split(turns: Any) -> tuple[str, str]:
    """Return (prompt, answer) of a conversation that ends with the assistant."""
    if not isinstance(turns, list | tuple) or len(turns) < 2 or turns[-1].get("role") != "assistant":
        raise ValueError("a conversation needs a turn of the user, and the assistant's answer last")
    text_of_turns(turns)
    return text_of_turns(turns[:-1]), str(turns[-1]["content"])


class _Battles(ExchangeFormat):
    carries = CARRIED

    def holds(self, row: LabelRow) -> bool:
        """Return whether the vote was no skip."""
        return row.verdict.choice in WINNERS

    def _battles(self, rows: Sequence[LabelRow]) -> list[dict[str, Any]]:
        return [_battle(record) for record in as_records([row for row in rows if self.holds(row)])]


@exchange_format("arena", title="Arena", ending=".arena.json", is_table=False)
class ArenaBattles(_Battles):
    """Write one JSON list of battles."""

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the list, a battle on each line."""
        return write_list(self._battles(rows))

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every battle. Conversations of several turns become one prompt that names the roles."""
        return parsed(read_json(data), _record)


@exchange_format("arena_parquet", title="Arena Parquet", ending=".arena.parquet", is_table=False)
class ArenaParquet(_Battles):
    """Write the battles as a Parquet file."""

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the file. Its columns have types also when there are no rows."""
        return write_parquet(self._battles(rows), _schema())

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every battle."""
        return parsed(read_parquet(data), _record)


def _schema() -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415  (0.2 s to import: only for this format)

    turns = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
    texts = ("question_id", "model_a", "model_b", "winner", "judge")
    return pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("conversation_a", turns),
            ("conversation_b", turns),
            ("turn", pa.int64()),
            ("anony", pa.bool_()),
            ("language", pa.string()),
            ("tstamp", pa.float64()),
            ("openai_moderation", pa.null()),
            ("toxic_chat_tag", pa.null()),
        ]
    )
