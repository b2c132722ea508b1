"""Define what the store gives out: votes with both answers, runs in a list, router versions. All are pure values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from playground.core.preferences import Verdict

HASTY_MS = 1500.0
HASTY_MS_PER_WORD = 15.0


@dataclass(frozen=True, eq=False)
class Side:
    """Hold one answer of a comparison. `usage` (E,) is over `experts`."""

    run_id: str
    text: str
    router: str
    version: str
    experts: tuple[str, ...]
    usage: np.ndarray

    @property
    def expert(self) -> str:
        """Return the expert with the most usage. It is empty when no expert was used."""
        return self.experts[int(self.usage.argmax())] if self.usage.size and self.usage.max() > 0 else ""


@dataclass(frozen=True, eq=False)
class LabelRow:
    """Hold a vote in force with its comparison. `verdict` is about `a` and `b`; `left` names the one shown left.

    `judged` says what the vote judges (None in rows of before). `aspects` are from 2, `a` is much better, to -2.
    """

    label_id: str
    comparison_id: str
    created_at: datetime
    labeller_id: str
    labeller: str
    verdict: Verdict
    prompt: str
    a: Side
    b: Side
    left: str
    selection: str
    pair_propensity: float | None
    source: str
    source_detail: dict[str, Any]
    revealed_before: bool
    blind: bool
    lead_ms: int
    rationale: str
    tags: tuple[str, ...]
    category: str = ""
    judged: str | None = None
    duplicate_of: str | None = None
    check_answer: str | None = None
    aspects: Mapping[str, int] = field(default_factory=dict)

    @property
    def shown_sides(self) -> tuple[Side, Side]:
        """Return the answers as they were shown: left, right."""
        return (self.a, self.b) if self.left == "a" else (self.b, self.a)

    @property
    def shown_verdict(self) -> Verdict:
        """Return the verdict as the labeller gave it: A is the left answer."""
        return self.verdict if self.left == "a" else self.verdict.swapped()

    def turned(self) -> "LabelRow":
        """Return the same label with A and B exchanged."""
        left = "b" if self.left == "a" else "a"
        return replace(self, a=self.b, b=self.a, verdict=self.verdict.swapped(), left=left)

    @property
    def is_hasty(self) -> bool:
        """Return whether the vote came sooner than both answers could be read. A `lead_ms` of 0 means not measured."""
        words = len(self.a.text.split()) + len(self.b.text.split())
        return 0 < self.lead_ms < max(HASTY_MS, HASTY_MS_PER_WORD * words)


def aligned(rows: Iterable[LabelRow]) -> list[LabelRow]:
    """Return the labels with one A and one B in all labels of a comparison: those of its first label.

    Files may give the same two answers in both orders. A turned label keeps what it says.
    """
    first: dict[str, tuple[str, str]] = {}
    found = []
    for row in rows:
        sides = (row.a.expert + row.a.text, row.b.expert + row.b.text)
        wanted = first.setdefault(row.comparison_id, sides) if row.comparison_id else sides
        found.append(row.turned() if sides != wanted and sides == wanted[::-1] else row)
    return found


@dataclass(frozen=True)
class RunSummary:
    """Hold one line of the list of runs. `expert` is the one with the most usage, empty when none answered."""

    id: str
    created_at: datetime
    prompt: str
    router: str
    version: str
    expert: str
    tokens: int
    text: str


@dataclass(frozen=True, eq=False)
class VersionInfo:
    """Hold one version of a router.

    `state` is 'current', 'promoted before' or 'draft'. `params_path` is relative to the data folder.
    """

    id: str
    router: str
    level: str
    parent: str | None
    created_at: datetime
    note: str
    metrics: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    labels_hash: str = ""
    encoder: str = ""
    params_path: str = ""
    params_sha256: str = ""
    state: str = "draft"

    @property
    def is_current(self) -> bool:
        """Return whether it is the version in force."""
        return self.state == "current"


@dataclass(frozen=True)
class LabelsOf:
    """Hold the labels that made a version: their number by part, and their hash."""

    train: int
    valid: int
    test: int
    hash: str

    @property
    def all(self) -> int:
        """Return how many labels there were."""
        return self.train + self.valid + self.test


@dataclass(frozen=True, eq=False)
class ShadowDecision:
    """Hold what a shadow version decided beside the version that served. Weights are over `experts`."""

    run_id: str
    prompt: str
    version: str
    shadow: str
    experts: tuple[str, ...]
    served: tuple[float, ...]
    shadowed: tuple[float, ...]

    @property
    def differs(self) -> bool:
        """Return whether the two would ask different experts."""
        return self.top(self.served) != self.top(self.shadowed)

    def top(self, weights: tuple[float, ...]) -> str:
        """Return the heaviest expert."""
        return self.experts[max(range(len(weights)), key=weights.__getitem__)]
