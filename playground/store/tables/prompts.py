"""Define the tables of prompts and of pools of experts."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import Json, UtcTime, new_id, now


class PromptRow(SQLModel, table=True):
    """Store each distinct prompt once. Only `deleted_at` ever changes."""

    __tablename__ = "prompt"
    __table_args__ = (
        sa.CheckConstraint("source IN ('typed', 'import', 'probe', 'check')", name="source"),
        sa.UniqueConstraint("text_hash"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the prompt.")
    text: str = Field(sa_type=sa.Text, description="The prompt as it was typed.")
    messages: list[Any] | None = Field(
        default=None, sa_type=Json, description="Earlier turns of a conversation. Not used yet."
    )
    text_hash: str = Field(max_length=64, description="SHA-256 of the NFC-normalised text.")
    group_id: str = Field(
        max_length=64,
        index=True,
        description="Prompts of one group belong together. Equal to text_hash so far; nothing reads it yet.",
    )
    language: str | None = Field(default=None, max_length=16, description="Language of the prompt. Not used yet.")
    category: str | None = Field(default=None, max_length=64, description="Kind of prompt. Not used yet.")
    source: str = Field(default="typed", max_length=16, description="Where the prompt came from. Used so far: `typed`.")
    licence: str | None = Field(default=None, max_length=64, description="Licence of an imported prompt. Not used yet.")
    created_at: datetime = Field(
        default_factory=now, sa_type=UtcTime, index=True, description="When it was first stored, in UTC."
    )
    deleted_at: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When it was deleted on request. Not used yet."
    )


class PoolRow(SQLModel, table=True):
    """Store an ordered choice of experts. It gives length and order to every weight vector."""

    __tablename__ = "pool"
    __table_args__ = (sa.UniqueConstraint("hash"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the pool.")
    hash: str = Field(max_length=64, description="Short hash of the names in order.")
    names: list[str] = Field(sa_type=Json, description="Names of the experts, in pool order.")
    created_at: datetime = Field(
        default_factory=now, sa_type=UtcTime, description="When the pool was first used, in UTC."
    )
