"""Add the table of secrets: replicas on one server share the key of the labellers, which no file of theirs can hold."""

import sqlalchemy as sa
from alembic import op

from playground.store.tables.columns import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "secret",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )


def downgrade() -> None:
    """Drop the table. Labellers on a server are other people then: their key is lost."""
    op.drop_table("secret")
