"""Define the tables of comparisons, labels and reasons. Labels are append-only: an undo is a new row."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.core.preferences import Verdict
from playground.store.tables.columns import Json, UtcTime, new_id, now

SELECTIONS = ("uniform", "uncertainty", "dts", "dopt", "manual", "check", "duplicate", "near_tie")
JUDGED = ("expert", "router", "version", "mixed")
SOURCES = ("human", "judge", "rule", "import", "transfer")
CHOICES = tuple(dict.fromkeys(verdict.choice for verdict in Verdict))
STRONGEST = max(verdict.strength or 0 for verdict in Verdict)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class ComparisonRow(SQLModel, table=True):
    """Store two runs of one prompt that were shown blind. `run_a` is always the smaller id."""

    __tablename__ = "comparison"
    __table_args__ = (
        sa.CheckConstraint("run_a < run_b", name="canonical"),
        sa.CheckConstraint("left_run = run_a OR left_run = run_b", name="left_run"),
        sa.CheckConstraint(_one_of("selection", SELECTIONS), name="selection"),
        sa.CheckConstraint(f"judged IS NULL OR {_one_of('judged', JUDGED)}", name="judged"),
        sa.CheckConstraint(
            "pair_propensity IS NULL OR (pair_propensity > 0 AND pair_propensity <= 1)", name="propensity"
        ),
        sa.Index("ix_comparison_assigned_to_lease_until", "assigned_to", "lease_until"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the comparison.")
    prompt_id: str = Field(
        foreign_key="prompt.id", index=True, max_length=26, description="The prompt that both runs answer."
    )
    run_a: str = Field(foreign_key="run.id", index=True, max_length=64, description="The run with the smaller id.")
    run_b: str = Field(foreign_key="run.id", index=True, max_length=64, description="The run with the larger id.")
    left_run: str = Field(foreign_key="run.id", max_length=64, description="The run that was shown on the left.")
    selection: str = Field(max_length=16, description="The policy that chose the pair, `manual` or a kind of check.")
    pair_propensity: float | None = Field(
        default=None, description="The probability with which the pair was drawn. Null when a person chose it."
    )
    duplicate_of: str | None = Field(
        default=None,
        foreign_key="comparison.id",
        max_length=26,
        description="The comparison that this one repeats, with the sides exchanged, to measure agreement.",
    )
    check_answer: str | None = Field(
        default=None, max_length=8, description="The known right choice of a check comparison, `a` or `b`."
    )
    judged: str | None = Field(
        default=None,
        max_length=8,
        description="What a vote on it judges: `expert`, `router`, `version` (two of one router) or `mixed`. Null in "
        "rows of before.",
    )
    blind: bool = Field(default=True, description="Whether router and expert were hidden until the vote.")
    assigned_to: str | None = Field(
        default=None,
        foreign_key="labeller.id",
        max_length=26,
        description="The labeller who should judge it. Not used yet.",
    )
    lease_until: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When that assignment ends. Not used yet."
    )
    batch: str | None = Field(
        default=None, max_length=64, description="Name of the batch that the comparison belongs to. Not used yet."
    )
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was made, in UTC.")


class LabelActRow(SQLModel, table=True):
    """Store one act of one labeller: a vote, an undo or a tombstone. Rows are never changed or deleted.

    `choice` and `strength` refer to `run_a` and `run_b`, not to left and right. An undo names in `restores` the earlier
    vote that counts again, so undoing a change of mind returns to the state before it.
    """

    __tablename__ = "label"
    __table_args__ = (
        sa.UniqueConstraint("client_token"),
        sa.UniqueConstraint("supersedes"),
        sa.CheckConstraint("action IN ('vote', 'undo', 'tombstone')", name="action"),
        sa.CheckConstraint(f"choice IS NULL OR {_one_of('choice', CHOICES)}", name="choice"),
        sa.CheckConstraint(
            f"strength IS NULL OR (strength BETWEEN 1 AND {STRONGEST} AND choice IN ('a', 'b'))", name="strength"
        ),
        sa.CheckConstraint("(action = 'vote') = (choice IS NOT NULL)", name="vote_has_choice"),
        sa.CheckConstraint(_one_of("source", SOURCES), name="source"),
        sa.Index("ix_label_labeller_id_created_at", "labeller_id", "created_at"),
    )

    id: str = Field(
        default_factory=new_id, primary_key=True, max_length=26, description="ULID of the act. Larger ids are later."
    )
    comparison_id: str = Field(
        foreign_key="comparison.id", index=True, max_length=26, description="The comparison that was judged."
    )
    labeller_id: str = Field(foreign_key="labeller.id", max_length=26, description="Who acted.")
    action: str = Field(
        max_length=16, description="`vote`, `undo` or `tombstone` (a deleted label). `tombstone` is not used yet."
    )
    supersedes: str | None = Field(
        default=None,
        foreign_key="label.id",
        max_length=26,
        description="The act of the same labeller that this one replaces.",
    )
    restores: str | None = Field(
        default=None,
        foreign_key="label.id",
        max_length=26,
        description="For an undo: the earlier vote that counts again. Null when there was none.",
    )
    choice: str | None = Field(
        default=None,
        max_length=8,
        description="`a`, `b`, `tie`, `bad` (both are bad) or `skip`, in terms of run_a and run_b. Null unless a vote.",
    )
    strength: int | None = Field(
        default=None, description="1 slightly, 2 plainly, 3 much better. Null unless the choice is `a` or `b`."
    )
    source: str = Field(
        default="human", max_length=16, index=True, description="Who gave the label. Used so far: `human`."
    )
    source_detail: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="More about the source, such as how many tokens were shown."
    )
    revealed_before: bool = Field(
        default=False, description="Whether the labeller had seen router and expert before voting."
    )
    lead_ms: int = Field(
        default=0, description="Milliseconds from the start of the comparison to the vote. 0 means not measured."
    )
    client_token: str = Field(
        max_length=128,
        description="A hash of the labeller and of a token made by the client. The same twice gives one label.",
    )
    guideline_version: str = Field(
        default="", max_length=32, description="Version of the instructions for labellers. Not used yet."
    )
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When the act happened, in UTC.")


class RationaleRow(SQLModel, table=True):
    """Store why a labeller voted so, in words and tags. Only `deleted_at` ever changes."""

    __tablename__ = "rationale"
    __table_args__ = (
        sa.CheckConstraint("length(text) <= 4000", name="text_length"),
        sa.CheckConstraint("source IN ('human', 'machine')", name="source"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the reason.")
    label_id: str = Field(foreign_key="label.id", index=True, max_length=26, description="The label that it explains.")
    source: str = Field(default="human", max_length=16, description="`human` or `machine`. `machine` is not used yet.")
    text: str = Field(default="", sa_type=sa.Text, description="The reason in words.")
    tags: list[str] = Field(default_factory=list, sa_type=Json, description="The reasons that were ticked.")
    model: str | None = Field(default=None, max_length=255, description="The model that wrote it. Not used yet.")
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was given, in UTC.")
    deleted_at: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When it was hidden on request. Nothing sets it yet."
    )


class LabelAspectRow(SQLModel, table=True):
    """Store what a vote said of one aspect, such as harmlessness. An aspect that was not judged has no row."""

    __tablename__ = "label_aspect"
    __table_args__ = (sa.CheckConstraint("value BETWEEN -2 AND 2", name="value"),)

    label_id: str = Field(
        foreign_key="label.id", primary_key=True, max_length=26, description="The vote that it belongs to."
    )
    aspect: str = Field(primary_key=True, max_length=64, description="The aspect, as the host's setting names it.")
    value: int = Field(description="From 2, run_a is much better in it, to -2, run_b is.")
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was said, in UTC.")
