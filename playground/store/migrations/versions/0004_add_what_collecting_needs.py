"""Say what a comparison judged, and add verdicts by aspect, consent and sittings with a goal."""

import sqlalchemy as sa
from alembic import op

from playground.store import triggers
from playground.store.tables.columns import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SELECTIONS = ("uniform", "uncertainty", "dts", "dopt", "manual", "check", "duplicate")
JUDGED = ("expert", "router", "version", "mixed")
# every name is written whole: the naming convention must not lengthen it again
SELECTION, JUDGES = op.f("ck_comparison_selection"), op.f("ck_comparison_judged")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def upgrade() -> None:
    triggers.drop(op.get_bind())
    with op.batch_alter_table("comparison") as batch:
        batch.add_column(sa.Column("judged", sa.String(8), nullable=True))
        batch.drop_constraint(SELECTION, type_="check")
        batch.create_check_constraint(SELECTION, _one_of("selection", (*SELECTIONS, "near_tie")))
        batch.create_check_constraint(JUDGES, f"judged IS NULL OR {_one_of('judged', JUDGED)}")
    op.create_table(
        "label_aspect",
        sa.Column("label_id", sa.String(26), nullable=False),
        sa.Column("aspect", sa.String(64), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("value BETWEEN -2 AND 2", name=op.f("ck_label_aspect_value")),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_label_aspect_label_id")),
        sa.PrimaryKeyConstraint("label_id", "aspect", name=op.f("pk_label_aspect")),
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("labeller_id", sa.String(26), nullable=False),
        sa.Column("licence", sa.String(64), nullable=False),
        sa.Column("terms", sa.String(64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["labeller_id"], ["labeller.id"], name=op.f("fk_consent_labeller_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_labeller_id"), "consent", ["labeller_id"])
    op.create_table(
        "sitting",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("labeller_id", sa.String(26), nullable=False),
        sa.Column("goal", sa.Integer(), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.CheckConstraint("goal > 0", name=op.f("ck_sitting_goal")),
        sa.ForeignKeyConstraint(["labeller_id"], ["labeller.id"], name=op.f("fk_sitting_labeller_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sitting")),
    )
    op.create_index(op.f("ix_sitting_labeller_id"), "sitting", ["labeller_id"])


def downgrade() -> None:
    """Drop what was added. Pairs drawn near a tie count as drawn by uncertainty then."""
    triggers.drop(op.get_bind())
    for table in ("sitting", "consent", "label_aspect"):
        op.drop_table(table)
    op.execute("UPDATE comparison SET selection = 'uncertainty' WHERE selection = 'near_tie'")
    with op.batch_alter_table("comparison") as batch:
        batch.drop_constraint(JUDGES, type_="check")
        batch.drop_constraint(SELECTION, type_="check")
        batch.create_check_constraint(SELECTION, _one_of("selection", SELECTIONS))
        batch.drop_column("judged")
