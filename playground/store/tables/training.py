"""Define the tables of router versions, promotions, fine-tunes and evaluations."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class RouterVersionRow(SQLModel, table=True):
    """Store the parameters of a router, their parent and what was measured of them. Rows are never changed."""

    __tablename__ = "router_version"
    __table_args__ = (
        sa.CheckConstraint("parent_id IS NULL OR parent_id <> id", name="parent"),
        sa.CheckConstraint("level IN ('prompt', 'gate', 'controller')", name="level"),
        sa.Index("ix_router_version_router_created_at", "router", "created_at"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=128, description="Name of the version.")
    router: str = Field(max_length=40, description="Name of the router.")
    level: str = Field(max_length=16, description="`prompt`, `gate` or `controller`.")
    pool_id: str | None = Field(
        default=None,
        foreign_key="pool.id",
        max_length=26,
        description="The pool of the run that first used it. Null for versions made by training.",
    )
    parent_id: str | None = Field(
        default=None,
        foreign_key="router_version.id",
        max_length=128,
        description="The version that it was trained from.",
    )
    params_path: str = Field(
        default="",
        max_length=255,
        description="Folder of the parameters, relative to the data folder. Empty for versions that ship with the app.",
    )
    params_sha256: str = Field(default="", max_length=64, description="SHA-256 of the parameters.")
    config: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="Objective and options of the fine-tune."
    )
    metrics: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="What was measured before and after the fine-tune."
    )
    labels_hash: str = Field(default="", max_length=64, description="Hash of the labels it was trained on.")
    encoder: str = Field(default="", max_length=255, description="Name of the sentence encoder it needs.")
    training_run_id: str | None = Field(
        default=None,
        max_length=26,
        description="The fine-tune that made it. No foreign key, because the two tables refer to each other.",
    )
    note: str = Field(default="", sa_type=sa.Text, description="A remark, such as `ships with the app`.")
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was made, in UTC.")


class VersionFileRow(SQLModel, table=True):
    """Store the files of router versions, for the replicas on one server. With SQLite they lie in the data folder."""

    __tablename__ = "version_file"

    version_id: str = Field(
        foreign_key="router_version.id", primary_key=True, max_length=128, description="The version."
    )
    name: str = Field(primary_key=True, max_length=255, description="Path of the file in the folder of the version.")
    content: bytes = Field(sa_type=sa.LargeBinary, description="The file.")


class PromotionRow(SQLModel, table=True):
    """Store that a version was put in force, or that the one before it was. The newest row counts."""

    __tablename__ = "promotion"
    __table_args__ = (
        sa.CheckConstraint("action IN ('promote', 'rollback')", name="action"),
        sa.Index("ix_promotion_router_at", "router", "at"),
    )

    id: str = Field(
        default_factory=new_id,
        primary_key=True,
        max_length=26,
        description="ULID of the promotion. The newest one of a router counts.",
    )
    router: str = Field(max_length=40, description="Name of the router.")
    version_id: str = Field(
        foreign_key="router_version.id", max_length=128, description="The version that came into force."
    )
    action: str = Field(max_length=16, description="`promote` or `rollback`.")
    from_version: str | None = Field(
        default=None, foreign_key="router_version.id", max_length=128, description="The version in force before."
    )
    evaluation_id: str | None = Field(
        default=None,
        foreign_key="evaluation.id",
        max_length=26,
        description="The figures that justified it. Not used yet.",
    )
    by: str = Field(max_length=128, description="Who did it: the id of a labeller, or `command line`.")
    reason: str = Field(default="", sa_type=sa.Text, description="Why, in words.")
    at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it happened, in UTC.")


class TrainingRunRow(SQLModel, table=True):
    """Store one fine-tune of a router. At most one per router has the status `running`."""

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

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the fine-tune.")
    router: str = Field(max_length=40, description="Name of the router.")
    parent_version: str = Field(
        foreign_key="router_version.id", max_length=128, description="The version that it started from."
    )
    method: str = Field(max_length=40, description="Name of the objective.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        sa_type=Json,
        description="Options of the objective, the note, the curve so far, when the program that works on it last "
        "reported, and at the end the outcome.",
    )
    seed: int = Field(default=0, sa_type=sa.BigInteger, description="Seed of the fit. Not used yet.")
    label_query: dict[str, Any] = Field(
        default_factory=dict, sa_type=Json, description="Which labels were asked for. Not used yet."
    )
    label_set_hash: str = Field(default="", max_length=64, description="Hash of the labels that were used.")
    n_labels: int = Field(default=0, description="Number of labels that were used.")
    split_salt: str = Field(default="", max_length=64, description="Salt of the split by prompt.")
    status: str = Field(
        default="running",
        max_length=16,
        description="`running`, `done`, `failed`, `cancelled` or `queued` (not used yet).",
    )
    progress: float = Field(default=0.0, description="Share of the steps that are done, 0 to 1.")
    started_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it started, in UTC.")
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime, description="When it ended, in UTC.")
    log: str = Field(default="", sa_type=sa.Text, description="What went wrong, when it failed.")
    version_id: str | None = Field(
        default=None, foreign_key="router_version.id", max_length=128, description="The version that it made."
    )


class TrainingLabelRow(SQLModel, table=True):
    """Store what a fine-tune made of one label."""

    __tablename__ = "training_label"
    __table_args__ = (
        sa.CheckConstraint("split IN ('train', 'valid', 'test')", name="split"),
        sa.CheckConstraint("action IN ('as is', 'soft', 'flip', 'margin')", name="action"),
    )

    training_run_id: str = Field(
        foreign_key="training_run.id", primary_key=True, max_length=26, description="The fine-tune."
    )
    label_id: str = Field(foreign_key="label.id", primary_key=True, index=True, max_length=26, description="The label.")
    split: str = Field(max_length=8, description="The part that the label fell into: `train`, `valid` or `test`.")
    weight: float = Field(description="How much the label counted.")
    target: float = Field(description="Probability that answer A is better, as the fit used it.")
    action: str = Field(
        default="as is",
        max_length=8,
        description="What was done to the label: `as is`, or `soft`, `flip`, `margin` (not used yet).",
    )


class EvaluationRow(SQLModel, table=True):
    """Store measured figures of a version."""

    __tablename__ = "evaluation"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the evaluation.")
    version_id: str = Field(
        foreign_key="router_version.id", index=True, max_length=128, description="The version that was measured."
    )
    against: str | None = Field(
        default=None, foreign_key="router_version.id", max_length=128, description="The version it was compared with."
    )
    set_name: str = Field(
        max_length=64,
        description="Name of the set that it was measured on. `shadow`: the row says that the version begins or ceases "
        "to decide beside the one in force.",
    )
    set_hash: str = Field(default="", max_length=64, description="Hash of that set.")
    metrics: dict[str, Any] = Field(sa_type=Json, description="For each measure: value, low, high and n.")
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was measured, in UTC.")
