"""Define the tables of runs, their decisions and their traces. Only a trace may be pruned."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class RunRow(SQLModel, table=True):
    """Store one prompt through one router version to one response. Only `deleted_at` ever changes."""

    __tablename__ = "run"
    __table_args__ = (
        sa.CheckConstraint("seed >= 0", name="seed"),
        sa.Index("ix_run_router_version_id_created_at", "router_version_id", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=64, description="Id of the run.")
    prompt_id: str = Field(foreign_key="prompt.id", index=True, max_length=26, description="The prompt.")
    router_version_id: str = Field(
        foreign_key="router_version.id", max_length=128, description="The router version that decided."
    )
    pool_id: str = Field(foreign_key="pool.id", max_length=26, description="The pool of experts that it decided over.")
    usage: bytes = Field(
        sa_type=sa.LargeBinary, description="How much each expert was used: (E,) float32, little-endian, in pool order."
    )
    session_id: str = Field(default="", max_length=128, description="The visitor's session. Empty when there was none.")
    requested_by: str | None = Field(
        default=None, foreign_key="labeller.id", max_length=26, description="The labeller who asked. Not used yet."
    )
    seed: int = Field(sa_type=sa.BigInteger, description="Seed of the sampling.")
    temperature: float = Field(description="Temperature of the sampling. 0 takes the likeliest token.")
    top_p: float = Field(description="Top-p of the sampling.")
    repetition_penalty: float = Field(description="Repetition penalty of the sampling.")
    max_tokens: int = Field(description="Most tokens the answer could have.")
    base_model: str = Field(default="", max_length=255, description="Name of the language model.")
    text: str = Field(sa_type=sa.Text, description="The answer.")
    finish_reason: str = Field(max_length=16, description="`stop`, `length`, `cancelled` or `failed`.")
    prompt_tokens: int = Field(description="Tokens of the prompt, chat template included.")
    completion_tokens: int = Field(description="Tokens of the answer.")
    timings: dict[str, float] = Field(
        sa_type=Json, description="Seconds by name: encode_s, decide_s, first_token_s, total_s."
    )
    cost: float | None = Field(
        default=None, description="Price of the run. Null so far, because no expert has a price."
    )
    error: str | None = Field(
        default=None, sa_type=sa.Text, description="Stage and message of a run that failed. Null when it did not fail."
    )
    style: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="Measures of the style of the answer. Not used yet."
    )
    created_at: datetime = Field(
        default_factory=now, sa_type=UtcTime, index=True, description="When it was stored, in UTC."
    )
    deleted_at: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When it was hidden: on request, or when its trace was pruned."
    )


class DecisionRow(SQLModel, table=True):
    """Store what the router decided in a run. Rows are never changed.

    A row of scheme `override` is a person's choice. It is no evidence about the router.
    """

    __tablename__ = "decision"
    __table_args__ = (
        sa.UniqueConstraint("run_id", "step"),
        sa.CheckConstraint("propensity IS NULL OR (propensity > 0 AND propensity <= 1)", name="propensity"),
        sa.CheckConstraint("scheme IN ('argmax', 'sample', 'mixture', 'override', 'slate')", name="scheme"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the decision.")
    run_id: str = Field(foreign_key="run.id", max_length=64, description="The run that it belongs to.")
    step: int = Field(default=0, description="0 for the first decision of a run.")
    weights: bytes = Field(sa_type=sa.LargeBinary, description="Weights over the pool: (E,) float32, little-endian.")
    propensities: bytes = Field(
        sa_type=sa.LargeBinary, description="The distribution that the expert was drawn from: (E,) float32."
    )
    propensity: float | None = Field(
        default=None, description="Probability of the expert that answered. Null when several experts were blended."
    )
    scheme: str = Field(
        max_length=16,
        description="`argmax` (the heaviest answers), `sample` (one is drawn), `mixture` (blended), `override` (set "
        "by a person) or `slate` (not used yet).",
    )
    epsilon: float = Field(default=0.0, description="Share of random exploration. Not used yet.")
    uncertainty: bytes | None = Field(
        default=None,
        sa_type=sa.LargeBinary,
        description="Half width of each weight: (E,) float32. Null when the router gives none.",
    )
    explanation: dict[str, Any] = Field(
        sa_type=Json,
        description="The evidence of the router as JSON: neighbours, scores or a sentence. `shadow` is what another "
        "version decided beside it, when one did.",
    )


class TraceRow(SQLModel, table=True):
    """Store every event of a run as gzipped JSON lines: in the row when small, else in a file.

    Large traces lie in the data folder. A trace may be pruned.
    """

    __tablename__ = "trace"
    __table_args__ = (
        sa.CheckConstraint(
            "pruned_at IS NOT NULL OR ((path IS NULL) <> (inline IS NULL))",
            name="one_place",
        ),
    )

    run_id: str = Field(primary_key=True, foreign_key="run.id", max_length=64, description="The run.")
    path: str | None = Field(
        default=None,
        max_length=255,
        description="File of the trace, relative to the data folder. Null when the trace is in the row.",
    )
    inline: bytes | None = Field(
        default=None, sa_type=sa.LargeBinary, description="The trace itself, gzipped. Null when the trace is in a file."
    )
    bytes: int = Field(description="Size of the gzipped trace.")
    sha256: str = Field(max_length=64, description="SHA-256 of the gzipped trace.")
    pruned_at: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When the trace was deleted to save space. `db prune` does that."
    )
