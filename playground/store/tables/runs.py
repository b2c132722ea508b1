"""Runs, the decisions behind them and their traces. All immutable after insert; a trace may be pruned."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class RunRow(SQLModel, table=True):
    """One prompt through one router version to one response. `usage` (E,) float32 little-endian over the pool."""

    __tablename__ = "run"
    __table_args__ = (
        sa.CheckConstraint("seed >= 0", name="seed"),
        sa.Index("ix_run_router_version_id_created_at", "router_version_id", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=64)
    prompt_id: str = Field(foreign_key="prompt.id", index=True, max_length=26)
    router_version_id: str = Field(foreign_key="router_version.id", max_length=128)
    pool_id: str = Field(foreign_key="pool.id", max_length=26)
    usage: bytes = Field(sa_type=sa.LargeBinary)
    session_id: str = Field(default="", max_length=128)
    requested_by: str | None = Field(default=None, foreign_key="labeller.id", max_length=26)
    seed: int = Field(sa_type=sa.BigInteger)
    temperature: float
    top_p: float
    repetition_penalty: float
    max_tokens: int
    template_hash: str = Field(default="", max_length=64)
    base_model: str = Field(default="", max_length=255)
    text: str = Field(sa_type=sa.Text)
    finish_reason: str = Field(max_length=16)
    prompt_tokens: int
    completion_tokens: int
    timings: dict[str, float] = Field(sa_type=Json)
    cost: float | None = None
    error: str | None = Field(default=None, sa_type=sa.Text)
    style: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, index=True)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcTime)


class DecisionRow(SQLModel, table=True):
    """What the router decided. `propensity` is that of the expert that answered; null when several were blended.

    `weights`, `propensities`, `uncertainty` are (E,) float32 little-endian. A row of scheme `override` is a person's
    choice and no evidence about the policy.
    """

    __tablename__ = "decision"
    __table_args__ = (
        sa.UniqueConstraint("run_id", "step"),
        sa.CheckConstraint("propensity IS NULL OR (propensity > 0 AND propensity <= 1)", name="propensity"),
        sa.CheckConstraint("scheme IN ('argmax', 'sample', 'mixture', 'override', 'slate')", name="scheme"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    run_id: str = Field(foreign_key="run.id", max_length=64)
    step: int = 0
    weights: bytes = Field(sa_type=sa.LargeBinary)
    propensities: bytes = Field(sa_type=sa.LargeBinary)
    propensity: float | None = None
    scheme: str = Field(max_length=16)
    epsilon: float = 0.0
    uncertainty: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    explanation: dict[str, Any] = Field(sa_type=Json)


class TraceRow(SQLModel, table=True):
    """Every event of a run as gzipped JSON lines: in the row when small, else in a file beside the database.

    `path` is relative to the data folder; `bytes` and `sha256` are of the gzipped form.
    """

    __tablename__ = "trace"
    __table_args__ = (
        sa.CheckConstraint(
            "pruned_at IS NOT NULL OR ((path IS NULL) <> (inline IS NULL))",
            name="one_place",
        ),
    )

    run_id: str = Field(primary_key=True, foreign_key="run.id", max_length=64)
    path: str | None = Field(default=None, max_length=255)
    inline: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    bytes: int
    sha256: str = Field(max_length=64)
    layers: int = 0
    tokens: int = 0
    events: int = 0
    pruned_at: datetime | None = Field(default=None, sa_type=UtcTime)
