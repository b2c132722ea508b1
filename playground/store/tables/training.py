"""Router versions, their promotions, and the fine-tunes and evaluations behind them."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class RouterVersionRow(SQLModel, table=True):
    """Parameters of a router, their lineage and what they were measured to do. Never overwritten.

    `params_path` is relative to the data folder, or empty for parameters that ship with the app. `training_run_id`
    names the fine-tune without a foreign key: the two tables point at each other, and one direction has to give.
    """

    __tablename__ = "router_version"
    __table_args__ = (
        sa.CheckConstraint("parent_id IS NULL OR parent_id <> id", name="parent"),
        sa.CheckConstraint("level IN ('prompt', 'gate', 'controller')", name="level"),
        sa.Index("ix_router_version_router_created_at", "router", "created_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=128)
    router: str = Field(max_length=40)
    level: str = Field(max_length=16)
    pool_id: str | None = Field(default=None, foreign_key="pool.id", max_length=26)
    parent_id: str | None = Field(default=None, foreign_key="router_version.id", max_length=128)
    params_path: str = Field(default="", max_length=255)
    params_sha256: str = Field(default="", max_length=64)
    config: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    metrics: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    labels_hash: str = Field(default="", max_length=64)
    encoder: str = Field(default="", max_length=255)
    training_run_id: str | None = Field(default=None, max_length=26)
    created_by: str | None = Field(default=None, foreign_key="labeller.id", max_length=26)
    note: str = Field(default="", sa_type=sa.Text)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)


class PromotionRow(SQLModel, table=True):
    """A version was put in force, or the one before it again. `by` says who: a labeller's id, or "command line"."""

    __tablename__ = "promotion"
    __table_args__ = (
        sa.CheckConstraint("action IN ('promote', 'rollback')", name="action"),
        sa.Index("ix_promotion_router_at", "router", "at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    router: str = Field(max_length=40)
    version_id: str = Field(foreign_key="router_version.id", max_length=128)
    action: str = Field(max_length=16)
    from_version: str | None = Field(default=None, foreign_key="router_version.id", max_length=128)
    evaluation_id: str | None = Field(default=None, foreign_key="evaluation.id", max_length=26)
    by: str = Field(max_length=128)
    reason: str = Field(default="", sa_type=sa.Text)
    at: datetime = Field(default_factory=now, sa_type=UtcTime)


class TrainingRunRow(SQLModel, table=True):
    """One fine-tune. At most one per router has status `running`."""

    __tablename__ = "training_run"
    __table_args__ = (
        sa.CheckConstraint("status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="status"),
        sa.Index(
            "uq_training_run_one_running",
            "router",
            unique=True,
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    router: str = Field(max_length=40)
    parent_version: str = Field(foreign_key="router_version.id", max_length=128)
    method: str = Field(max_length=40)
    config: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    seed: int = Field(default=0, sa_type=sa.BigInteger)
    label_query: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    label_set_hash: str = Field(default="", max_length=64)
    n_labels: int = 0
    split_salt: str = Field(default="", max_length=64)
    status: str = Field(default="running", max_length=16)
    progress: float = 0.0
    started_at: datetime = Field(default_factory=now, sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)
    log: str = Field(default="", sa_type=sa.Text)
    version_id: str | None = Field(default=None, foreign_key="router_version.id", max_length=128)


class TrainingLabelRow(SQLModel, table=True):
    """What a fine-tune made of one label. `split` is the part it fell into."""

    __tablename__ = "training_label"
    __table_args__ = (
        sa.CheckConstraint("split IN ('train', 'valid', 'test')", name="split"),
        sa.CheckConstraint("action IN ('as is', 'soft', 'flip', 'margin')", name="action"),
    )

    training_run_id: str = Field(foreign_key="training_run.id", primary_key=True, max_length=26)
    label_id: str = Field(foreign_key="label.id", primary_key=True, index=True, max_length=26)
    split: str = Field(max_length=8)
    weight: float
    target: float
    action: str = Field(default="as is", max_length=8)


class EvaluationRow(SQLModel, table=True):
    """Measured figures of a version: `metrics` maps a name to value, low, high and n."""

    __tablename__ = "evaluation"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    version_id: str = Field(foreign_key="router_version.id", index=True, max_length=128)
    against: str | None = Field(default=None, foreign_key="router_version.id", max_length=128)
    set_name: str = Field(max_length=64)
    set_hash: str = Field(default="", max_length=64)
    metrics: dict[str, Any] = Field(sa_type=Json)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)
