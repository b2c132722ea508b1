"""Turn labels into votes between entities: experts, routers or router versions.

This module decides which labels count, and counts the others by reason. It knows no database and no picture.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from playground.core.records import LabelRow, Side

Entity = Literal["expert", "router", "version"]
ENTITIES: tuple[Entity, ...] = ("expert", "router", "version")
WIN, TIE, LOSS = 0, 1, 2
OUTCOMES = {"a": WIN, "b": LOSS, "tie": TIE, "bad": TIE}
STYLES = ("length", "headers", "lists", "bold")

_FENCE = re.compile(r"```.*?(```|\Z)", re.DOTALL)
_COUNTS = (
    re.compile(r"^#{1,6} ", re.MULTILINE),
    re.compile(r"^\s*(?:[-*+]|\d+[.)]) ", re.MULTILINE),
    re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
)
_CODE = re.compile(r"```|\bdef \w+\(|\bfunction\b|#include|\bSELECT\b.+\bFROM\b|</\w+>", re.IGNORECASE)
_NUMBERS = re.compile(r"\d\s*[-+*/×÷^=%]\s*\d|\bhow (?:many|much)\b", re.IGNORECASE)
LONG_WORDS = 80


@dataclass(frozen=True, eq=False)
class Votes:
    """Hold N votes between the entities `names`.

    `first` and `second` (N,) index them, `outcome` (N,) is 0 when the first won, 1 for a tie, 2 when the second won.
    `people` and `prompts` (N,) group the votes. `style` (N, 4) is the difference first minus second of `STYLES`, each
    (a - b) / (a + b + 1), in units of its standard deviation. `time` (N,) is in seconds. `excluded` counts the labels
    left out, by reason.
    """

    names: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    outcome: np.ndarray
    people: np.ndarray
    prompts: np.ndarray
    categories: np.ndarray
    style: np.ndarray
    time: np.ndarray
    excluded: dict[str, int]

    def __len__(self) -> int:
        return len(self.outcome)

    def only(self, keep: np.ndarray) -> "Votes":
        """Return the votes at `keep`, a mask or indices. The entities stay."""
        arrays = {
            name: getattr(self, name)[keep]
            for name in ("first", "second", "outcome", "people", "prompts", "categories", "style", "time")
        }
        return Votes(self.names, **arrays, excluded=self.excluded)

    @property
    def decided(self) -> "Votes":
        """Return the votes that are no ties."""
        return self.only(self.outcome != TIE)

    def wins(self) -> np.ndarray:
        """Return (E, E): how often the row beat the column."""
        return self._table(WIN) + self._table(LOSS).T

    def ties(self) -> np.ndarray:
        """Return (E, E): how often row and column tied. It is symmetric."""
        table = self._table(TIE)
        return table + table.T

    def _table(self, outcome: int) -> np.ndarray:
        table = np.zeros((len(self.names), len(self.names)), int)
        at = self.outcome == outcome
        np.add.at(table, (self.first[at], self.second[at]), 1)
        return table


def votes_of(rows: Sequence[LabelRow], entity: Entity, *, source: str = "human") -> Votes:
    """Return the labels of `source` as votes between entities. Only a person's first blind look counts.

    Left out and counted: other sources, skips, checks and repeats, votes after the names were shown, pairs of one
    entity, and answers without one.
    """
    excluded: Counter[str] = Counter()
    kept = []
    for row in rows:
        reason = _reason(row, entity, source)
        if reason:
            excluded[reason] += 1
        else:
            kept.append(row)
    sides = [(entity_of(row.a, entity), entity_of(row.b, entity)) for row in kept]
    names = tuple(sorted({name for pair in sides for name in pair}))
    index = {name: place for place, name in enumerate(names)}
    style = np.array([style_difference(row.a.text, row.b.text) for row in kept], float).reshape(-1, len(STYLES))
    scale = np.sqrt((style**2).mean(axis=0)) if len(kept) else np.ones(len(STYLES))
    return Votes(
        names,
        np.array([index[a] for a, _ in sides], int),
        np.array([index[b] for _, b in sides], int),
        np.array([OUTCOMES[row.verdict.choice] for row in kept], int),
        _codes([row.labeller_id for row in kept]),
        _codes([row.prompt for row in kept]),
        np.array([row.category or category_of(row.prompt) for row in kept], object),
        style / np.where(scale > 0, scale, 1.0),
        np.array([row.created_at.timestamp() for row in kept], float),
        dict(excluded),
    )


def entity_of(side: Side, entity: Entity) -> str:
    """Return the name of what is ranked: the expert with the most usage, the router, or the router's version."""
    return {"expert": side.expert, "router": side.router, "version": side.version}[entity]


def _reason(row: LabelRow, entity: Entity, source: str) -> str:
    """Return why a label does not count, or nothing."""
    tests: list[tuple[str, Callable[[], bool]]] = [
        ("another source", lambda: row.source != source),
        ("skipped", lambda: row.verdict.choice not in OUTCOMES),
        ("a check or a repeat", lambda: row.selection in ("check", "duplicate")),
        ("the names were known", lambda: row.revealed_before or not row.blind),
        (f"no {entity}", lambda: not (entity_of(row.a, entity) and entity_of(row.b, entity))),
        (f"the same {entity} twice", lambda: entity_of(row.a, entity) == entity_of(row.b, entity)),
    ]
    return next((reason for reason, is_so in tests if is_so()), "")


def _codes(values: Sequence[str]) -> np.ndarray:
    known: dict[str, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], int)


def style_counts(text: str) -> tuple[int, int, int, int]:
    """Return (words, headers, list items, bold parts) of an answer in Markdown. Code between fences counts as words."""
    prose = _FENCE.sub("", text)
    headers, items, bold = (len(pattern.findall(prose)) for pattern in _COUNTS)
    return len(text.split()), headers, items, bold


def style_difference(a: str, b: str) -> list[float]:
    """Return (a - b) / (a + b + 1) for each of `STYLES`: from -1 to 1, and opposite when the answers are swapped."""
    return [(x - y) / (x + y + 1) for x, y in zip(style_counts(a), style_counts(b), strict=True)]


def category_of(prompt: str) -> str:
    """Return a rough kind of a prompt that came without one: code, numbers, long or other."""
    if _CODE.search(prompt):
        return "code"
    if _NUMBERS.search(prompt):
        return "numbers"
    return "long" if len(prompt.split()) > LONG_WORDS else "other"
