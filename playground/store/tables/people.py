"""Who labels: people, judges, rules and importers, known by a keyed hash only."""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import UtcTime, new_id, now


class LabellerRow(SQLModel, table=True):
    """Somebody who labels. `handle` is random and may be shown; `auth_subject_hash` is an HMAC, never a name."""

    __tablename__ = "labeller"
    __table_args__ = (
        sa.UniqueConstraint("auth_subject_hash"),
        sa.CheckConstraint("kind IN ('person', 'judge', 'rule', 'importer')", name="kind"),
        sa.CheckConstraint("role IN ('viewer', 'labeller', 'admin')", name="role"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26)
    kind: str = Field(default="person", max_length=16)
    handle: str = Field(max_length=32)
    auth_subject_hash: str | None = Field(default=None, max_length=64)
    role: str = Field(default="labeller", max_length=16)
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcTime)
