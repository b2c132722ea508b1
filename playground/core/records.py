"""Define what the store gives out: votes with both answers, runs in a list, router versions. All are pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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

    @property
    def is_hasty(self) -> bool:
        """Return whether the vote came sooner than both answers could be read. A `lead_ms` of 0 means not measured."""
        words = len(self.a.text.split()) + len(self.b.text.split())
        return 0 < self.lead_ms < max(HASTY_MS, HASTY_MS_PER_WORD * words)


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
