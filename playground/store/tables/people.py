"""Define the tables of labellers and of the key by which they are known.

Labellers are people, judges, rules and importers. They are known by a keyed hash only.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from playground.store.tables.columns import UtcTime, new_id, now


class LabellerRow(SQLModel, table=True):
    """Store who labels. The database holds a random handle and a keyed hash, never a name."""

    __tablename__ = "labeller"
    __table_args__ = (
        sa.UniqueConstraint("auth_subject_hash"),
        sa.CheckConstraint("kind IN ('person', 'judge', 'rule', 'importer')", name="kind"),
        sa.CheckConstraint("role IN ('viewer', 'labeller', 'admin')", name="role"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the labeller.")
    kind: str = Field(
        default="person", max_length=16, description="`person`, `judge`, `rule` or `importer`. Used so far: `person`."
    )
    handle: str = Field(max_length=32, description="A random name that may be shown.")
    auth_subject_hash: str | None = Field(
        default=None,
        max_length=64,
        description="HMAC of the cookie or user name. The key lies beside a SQLite file, and on a server in `secret`.",
    )
    role: str = Field(
        default="labeller", max_length=16, description="`viewer`, `labeller` or `admin`. Used so far: `labeller`."
    )
    created_at: datetime = Field(
        default_factory=now, sa_type=UtcTime, description="When the labeller was first seen, in UTC."
    )


class SecretRow(SQLModel, table=True):
    """Store random keys that all replicas of a server's database share. A setting can replace each of them."""

    __tablename__ = "secret"

    name: str = Field(primary_key=True, max_length=32, description="What it is for. Used so far: `labellers`.")
    value: bytes = Field(sa_type=sa.LargeBinary, description="The key: 32 random bytes.")
    created_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it was made, in UTC.")


class ConsentRow(SQLModel, table=True):
    """Store that a labeller agreed to the notice and the licence of the labels, before their first vote."""

    __tablename__ = "consent"

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the consent.")
    labeller_id: str = Field(foreign_key="labeller.id", index=True, max_length=26, description="Who agreed.")
    licence: str = Field(max_length=64, description="The licence of the labels that was shown.")
    terms: str = Field(max_length=64, description="SHA-256 of the notice that was shown.")
    at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When they agreed, in UTC.")


class SittingRow(SQLModel, table=True):
    """Store that a labeller set out to judge a number of comparisons. Only `ended_at` changes."""

    __tablename__ = "sitting"
    __table_args__ = (sa.CheckConstraint("goal > 0", name="goal"),)

    id: str = Field(default_factory=new_id, primary_key=True, max_length=26, description="ULID of the sitting.")
    labeller_id: str = Field(foreign_key="labeller.id", index=True, max_length=26, description="Who labels.")
    goal: int = Field(description="Comparisons to judge.")
    began_at: datetime = Field(default_factory=now, sa_type=UtcTime, description="When it began, in UTC.")
    ended_at: datetime | None = Field(
        default=None, sa_type=UtcTime, description="When the labeller finished it. Null while it is open."
    )
