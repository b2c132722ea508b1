"""Prompts, and the pools of experts they were put to."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class PromptRow(SQLModel, table=True):
    """One distinct prompt. `text_hash` is the SHA-256 of its NFC-normalised text. Immutable but for `deleted_at`."""

    __tablename__ = "prompt"
    __table_args__ = (
        sa.CheckConstraint("source IN ('typed', 'import', 'probe', 'check')", name="source"),
        sa.UniqueConstraint("text_hash"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    text: str = Field(sa_type=sa.Text)
    messages: list[Any] | None = Field(default=None, sa_type=Json)
    system: str | None = Field(default=None, sa_type=sa.Text)
    text_hash: str = Field(max_length=64)
    group_id: str = Field(max_length=64, index=True)
    language: str | None = Field(default=None, max_length=16)
    category: str | None = Field(default=None, max_length=64)
    source: str = Field(default="typed", max_length=16)
    licence: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, index=True)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcTime)


class PoolRow(SQLModel, table=True):
    """An ordered choice of experts: gives length and order to every weight vector. `names` in pool order."""

    __tablename__ = "pool"
    __table_args__ = (sa.UniqueConstraint("hash"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    hash: str = Field(max_length=64)
    names: list[str] = Field(sa_type=Json)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)
