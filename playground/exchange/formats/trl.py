"""Write preferences for TRL, the library that fine-tunes language models: prompt, chosen, rejected.

Two forms: standard texts with an explicit prompt, and conversations. Ties, "both are bad" and skips have no place in
them. Router, version, blended usage, reason and the drawing of the pair are lost. The columns beyond TRL's three are
ours; its trainers ignore them. None is called `margin`, because the reward trainer would take that into its loss.

Source: TRL, "Dataset formats and types", preference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import read_json, write_lines
from playground.exchange.record import parsed, text_of_turns
from playground.exchange.records import as_records

OWN = ("label_id", "comparison_id", "created_at", "labeller", "strength", "category")
CARRIED = frozenset({*OWN, "prompt", "choice", "target", "answer_a", "answer_b", "expert_a", "expert_b"})


class _Preferences(ExchangeFormat):
    """Share what both forms do: who won, and which side that was."""

    carries = CARRIED

    def holds(self, row: LabelRow) -> bool:
        """Return whether one answer was preferred."""
        return row.verdict.choice in ("a", "b")

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return one JSON object on a line for each preference."""
        return write_lines(self._row(record) for record in as_records([row for row in rows if self.holds(row)]))

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every preference. Without our own columns, the chosen answer is A, and much is unknown."""
        return parsed(read_json(data), self._record)

    def _row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        winner = record["choice"]
        loser = "b" if winner == "a" else "a"
        prompt = record["prompt"]
        return {
            "prompt": self._prompt(prompt),
            "chosen": self._answer(prompt, record[f"answer_{winner}"]),
            "rejected": self._answer(prompt, record[f"answer_{loser}"]),
            "chosen_expert": record[f"expert_{winner}"],
            "rejected_expert": record[f"expert_{loser}"],
            "chosen_side": winner,
            **{name: record[name] for name in OWN},
        }

    def _record(self, row: Mapping[str, Any]) -> dict[str, Any]:
        winner = row.get("chosen_side") or "a"
        if winner not in ("a", "b"):
            raise ValueError("chosen_side must be a or b")
        loser = "b" if winner == "a" else "a"
        prompt, chosen, rejected = self._texts(row)
        return {
            **{name: row[name] for name in OWN if row.get(name) is not None},
            "choice": winner,
            "prompt": prompt,
            f"answer_{winner}": chosen,
            f"answer_{loser}": rejected,
            f"expert_{winner}": row.get("chosen_expert") or "",
            f"expert_{loser}": row.get("rejected_expert") or "",
        }

    def _prompt(self, prompt: str) -> Any:
        raise NotImplementedError

    def _answer(self, prompt: str, answer: str) -> Any:
        raise NotImplementedError

    def _texts(self, row: Mapping[str, Any]) -> tuple[str, str, str]:
        raise NotImplementedError


@exchange_format("trl", title="TRL", ending=".trl.jsonl", is_table=False)
class TrlPreferences(_Preferences):
    """Write texts. An answer begins with a space where the prompt does not end in one, because TRL joins the two."""

    def _prompt(self, prompt: str) -> str:
        return prompt

    def _answer(self, prompt: str, answer: str) -> str:
        return answer if _ends_apart(prompt) else f" {answer}"

    def _texts(self, row: Mapping[str, Any]) -> tuple[str, str, str]:
        prompt, chosen, rejected = (_text(row, name) for name in ("prompt", "chosen", "rejected"))
        if not _ends_apart(prompt):
            chosen, rejected = chosen.removeprefix(" "), rejected.removeprefix(" ")
        return prompt, chosen, rejected


@exchange_format("trl_chat", title="TRL chat", ending=".trlchat.jsonl", is_table=False)
class TrlConversations(_Preferences):
    """Write conversations: the prompt is a turn of the user, each answer a turn of the assistant.

    A prompt of several turns is read as one text that names the roles.
    """

    def _prompt(self, prompt: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": prompt}]

    def _answer(self, prompt: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": answer}]

    def _texts(self, row: Mapping[str, Any]) -> tuple[str, str, str]:
        return text_of_turns(row["prompt"]), _reply(row["chosen"]), _reply(row["rejected"])


def _ends_apart(prompt: str) -> bool:
    return not prompt or prompt[-1].isspace()


def _text(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise ValueError(f"{name} is not a text; conversations are the format trl_chat")
    return row[name]


def _reply(turns: Any) -> str:
    text = text_of_turns(turns)
    return str(turns[0]["content"]) if len(turns) == 1 and turns[0]["role"] == "assistant" else text
