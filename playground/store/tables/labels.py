"""Comparisons, the verdicts on them and the reasons given. Labels are append-only: undo is a new row."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now

SELECTIONS = ("uniform", "uncertainty", "dts", "dopt", "manual", "check", "duplicate")
SOURCES = ("human", "judge", "rule", "import", "transfer")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class ComparisonRow(SQLModel, table=True):
    """Two runs of one prompt, shown blind. Canonical order: `run_a` < `run_b`; `left_run` is the one shown left."""

    __tablename__ = "comparison"
    __table_args__ = (
        sa.CheckConstraint("run_a < run_b", name="canonical"),
        sa.CheckConstraint("left_run = run_a OR left_run = run_b", name="left_run"),
        sa.CheckConstraint(_one_of("selection", SELECTIONS), name="selection"),
        sa.CheckConstraint(
            "pair_propensity IS NULL OR (pair_propensity > 0 AND pair_propensity <= 1)", name="propensity"
        ),
        sa.Index("ix_comparison_assigned_to_lease_until", "assigned_to", "lease_until"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    prompt_id: str = Field(foreign_key="prompt.id", index=True, max_length=26)
    run_a: str = Field(foreign_key="run.id", index=True, max_length=64)
    run_b: str = Field(foreign_key="run.id", index=True, max_length=64)
    left_run: str = Field(foreign_key="run.id", max_length=64)
    selection: str = Field(max_length=16)
    pair_propensity: float | None = None
    duplicate_of: str | None = Field(default=None, foreign_key="comparison.id", max_length=26)
    check_answer: str | None = Field(default=None, max_length=8)
    blind: bool = True
    assigned_to: str | None = Field(default=None, foreign_key="labeller.id", max_length=26)
    lease_until: datetime | None = Field(default=None, sa_type=UtcTime)
    batch: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)


class LabelActRow(SQLModel, table=True):
    """One act of one labeller: a vote, an undo or a tombstone. `choice` and `strength` are in run_a / run_b terms.

    `supersedes` is the act it replaces; `restores` is, for an undo, the earlier vote that is in force again (if any),
    so that undoing a change of mind returns to the state before it.
    """

    __tablename__ = "label"
    __table_args__ = (
        sa.UniqueConstraint("client_token"),
        sa.UniqueConstraint("supersedes"),
        sa.CheckConstraint("action IN ('vote', 'undo', 'tombstone')", name="action"),
        sa.CheckConstraint("choice IS NULL OR choice IN ('a', 'b', 'tie', 'bad', 'skip')", name="choice"),
        sa.CheckConstraint("strength IS NULL OR (strength BETWEEN 1 AND 3 AND choice IN ('a', 'b'))", name="strength"),
        sa.CheckConstraint("(action = 'vote') = (choice IS NOT NULL)", name="vote_has_choice"),
        sa.CheckConstraint(_one_of("source", SOURCES), name="source"),
        sa.Index("ix_label_labeller_id_created_at", "labeller_id", "created_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    comparison_id: str = Field(foreign_key="comparison.id", index=True, max_length=26)
    labeller_id: str = Field(foreign_key="labeller.id", max_length=26)
    action: str = Field(max_length=16)
    supersedes: str | None = Field(default=None, foreign_key="label.id", max_length=26)
    restores: str | None = Field(default=None, foreign_key="label.id", max_length=26)
    choice: str | None = Field(default=None, max_length=8)
    strength: int | None = None
    source: str = Field(default="human", max_length=16, index=True)
    source_detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    revealed_before: bool = False
    lead_ms: int = 0
    client_token: str = Field(max_length=128)
    ui_version: str = Field(default="", max_length=32)
    guideline_version: str = Field(default="", max_length=32)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)


class RationaleRow(SQLModel, table=True):
    """Why a labeller voted so, in words and tags. Immutable but for `deleted_at`."""

    __tablename__ = "rationale"
    __table_args__ = (
        sa.CheckConstraint("length(text) <= 4000", name="text_length"),
        sa.CheckConstraint("source IN ('human', 'machine')", name="source"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    label_id: str = Field(foreign_key="label.id", index=True, max_length=26)
    source: str = Field(default="human", max_length=16)
    text: str = Field(default="", sa_type=sa.Text)
    tags: list[str] = Field(default_factory=list, sa_type=Json)
    model: str | None = Field(default=None, max_length=255)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcTime)
