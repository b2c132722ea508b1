"""Drop the columns that nothing read: most were never set, and a trace's counts stand in its run and its events."""

import sqlalchemy as sa
from alembic import op

from playground.store import triggers
from playground.store.tables.columns import UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CREATED_BY = "fk_router_version_created_by"


def upgrade() -> None:
    triggers.drop(op.get_bind())
    for table, columns in _dropped().items():
        for column in columns:
            op.drop_column(table, column.name)
    with op.batch_alter_table("router_version") as batch:  # SQLite drops no column that has a foreign key
        batch.drop_constraint(CREATED_BY, type_="foreignkey")
        batch.drop_column("created_by")


def downgrade() -> None:
    """Make the columns again, empty or 0, because their values were lost."""
    triggers.drop(op.get_bind())
    for table, columns in _dropped().items():
        for column in columns:
            op.add_column(table, column)
    with op.batch_alter_table("router_version") as batch:
        batch.add_column(sa.Column("created_by", sa.String(26), nullable=True))
        batch.create_foreign_key(CREATED_BY, "labeller", ["created_by"], ["id"])


def _dropped() -> dict[str, list[sa.Column[object]]]:
    """Return the dropped columns of each table. Those that may not be null need a value for the rows that stand."""
    return {
        "label": [sa.Column("ui_version", sa.String(32), nullable=False, server_default="")],
        "labeller": [sa.Column("disabled_at", UtcTime(), nullable=True)],
        "prompt": [sa.Column("system", sa.Text(), nullable=True)],
        "run": [sa.Column("template_hash", sa.String(64), nullable=False, server_default="")],
        "trace": [
            sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in ("layers", "tokens", "events")
        ],
    }
