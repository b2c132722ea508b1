"""Add the tables of what replicas on one server share: the key of the labellers and the files of router versions."""

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
    op.create_table(
        "version_file",
        sa.Column("version_id", sa.String(128), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["router_version.id"], name=op.f("fk_version_file_version_id")),
        sa.PrimaryKeyConstraint("version_id", "name", name=op.f("pk_version_file")),
    )


def downgrade() -> None:
    """Drop the tables. Labellers on a server are other people then, because their key is lost."""
    op.drop_table("version_file")
    op.drop_table("secret")
