"""Create the first tables: prompts, runs, labels, people, training."""

import sqlalchemy as sa
from alembic import op

from playground.store.tables.columns import Json, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _labeller()
    _pool()
    _prompt()
    _router_version()
    _evaluation()
    _run()
    _training_run()
    _comparison()
    _decision()
    _promotion()
    _trace()
    _label()
    _rationale()
    _training_label()


def downgrade() -> None:
    tables = (
        "training_label rationale label trace promotion decision"
        " comparison training_run run evaluation router_version prompt pool labeller"
    )
    for table in tables.split():
        op.drop_table(table)


def _labeller() -> None:
    op.create_table(
        "labeller",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("handle", sa.String(32), nullable=False),
        sa.Column("auth_subject_hash", sa.String(64), nullable=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("disabled_at", UtcTime(), nullable=True),
        sa.CheckConstraint("kind IN ('person', 'judge', 'rule', 'importer')", name=op.f("ck_labeller_kind")),
        sa.CheckConstraint("role IN ('viewer', 'labeller', 'admin')", name=op.f("ck_labeller_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labeller")),
        sa.UniqueConstraint("auth_subject_hash", name=op.f("uq_labeller_auth_subject_hash")),
    )


def _pool() -> None:
    op.create_table(
        "pool",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("names", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool")),
        sa.UniqueConstraint("hash", name=op.f("uq_pool_hash")),
    )


def _prompt() -> None:
    op.create_table(
        "prompt",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("messages", Json, nullable=True),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("text_hash", sa.String(64), nullable=False),
        sa.Column("group_id", sa.String(64), nullable=False),
        sa.Column("language", sa.String(16), nullable=True),
        sa.Column("category", sa.String(64), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("licence", sa.String(64), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("deleted_at", UtcTime(), nullable=True),
        sa.CheckConstraint("source IN ('typed', 'import', 'probe', 'check')", name=op.f("ck_prompt_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt")),
        sa.UniqueConstraint("text_hash", name=op.f("uq_prompt_text_hash")),
    )
    op.create_index(op.f("ix_prompt_created_at"), "prompt", ["created_at"], unique=False)
    op.create_index(op.f("ix_prompt_group_id"), "prompt", ["group_id"], unique=False)


def _router_version() -> None:
    op.create_table(
        "router_version",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("router", sa.String(40), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("pool_id", sa.String(26), nullable=True),
        sa.Column("parent_id", sa.String(128), nullable=True),
        sa.Column("params_path", sa.String(255), nullable=False),
        sa.Column("params_sha256", sa.String(64), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("labels_hash", sa.String(64), nullable=False),
        sa.Column("encoder", sa.String(255), nullable=False),
        sa.Column("training_run_id", sa.String(26), nullable=True),
        sa.Column("created_by", sa.String(26), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("level IN ('prompt', 'gate', 'controller')", name=op.f("ck_router_version_level")),
        sa.CheckConstraint("parent_id IS NULL OR parent_id <> id", name=op.f("ck_router_version_parent")),
        sa.ForeignKeyConstraint(["created_by"], ["labeller.id"], name=op.f("fk_router_version_created_by")),
        sa.ForeignKeyConstraint(["parent_id"], ["router_version.id"], name=op.f("fk_router_version_parent_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name=op.f("fk_router_version_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router_version")),
    )
    op.create_index("ix_router_version_router_created_at", "router_version", ["router", "created_at"], unique=False)


def _evaluation() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("version_id", sa.String(128), nullable=False),
        sa.Column("against", sa.String(128), nullable=True),
        sa.Column("set_name", sa.String(64), nullable=False),
        sa.Column("set_hash", sa.String(64), nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["against"], ["router_version.id"], name=op.f("fk_evaluation_against")),
        sa.ForeignKeyConstraint(["version_id"], ["router_version.id"], name=op.f("fk_evaluation_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
    )
    op.create_index(op.f("ix_evaluation_version_id"), "evaluation", ["version_id"], unique=False)


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("prompt_id", sa.String(26), nullable=False),
        sa.Column("router_version_id", sa.String(128), nullable=False),
        sa.Column("pool_id", sa.String(26), nullable=False),
        sa.Column("usage", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.String(128), nullable=False),
        sa.Column("requested_by", sa.String(26), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("temperature", sa.Float(), nullable=False),
        sa.Column("top_p", sa.Float(), nullable=False),
        sa.Column("repetition_penalty", sa.Float(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("template_hash", sa.String(64), nullable=False),
        sa.Column("base_model", sa.String(255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finish_reason", sa.String(16), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("timings", Json, nullable=False),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("style", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("deleted_at", UtcTime(), nullable=True),
        sa.CheckConstraint("seed >= 0", name=op.f("ck_run_seed")),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name=op.f("fk_run_pool_id")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name=op.f("fk_run_prompt_id")),
        sa.ForeignKeyConstraint(["requested_by"], ["labeller.id"], name=op.f("fk_run_requested_by")),
        sa.ForeignKeyConstraint(["router_version_id"], ["router_version.id"], name=op.f("fk_run_router_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_created_at"), "run", ["created_at"], unique=False)
    op.create_index(op.f("ix_run_prompt_id"), "run", ["prompt_id"], unique=False)
    op.create_index("ix_run_router_version_id_created_at", "run", ["router_version_id", "created_at"], unique=False)


def _training_run() -> None:
    op.create_table(
        "training_run",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("router", sa.String(40), nullable=False),
        sa.Column("parent_version", sa.String(128), nullable=False),
        sa.Column("method", sa.String(40), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("label_query", Json, nullable=False),
        sa.Column("label_set_hash", sa.String(64), nullable=False),
        sa.Column("n_labels", sa.Integer(), nullable=False),
        sa.Column("split_salt", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("version_id", sa.String(128), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_training_run_status")
        ),
        sa.ForeignKeyConstraint(["parent_version"], ["router_version.id"], name=op.f("fk_training_run_parent_version")),
        sa.ForeignKeyConstraint(["version_id"], ["router_version.id"], name=op.f("fk_training_run_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_run")),
    )
    op.create_index(
        "uq_training_run_one_running",
        "training_run",
        ["router"],
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )


def _comparison() -> None:
    op.create_table(
        "comparison",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("prompt_id", sa.String(26), nullable=False),
        sa.Column("run_a", sa.String(64), nullable=False),
        sa.Column("run_b", sa.String(64), nullable=False),
        sa.Column("left_run", sa.String(64), nullable=False),
        sa.Column("selection", sa.String(16), nullable=False),
        sa.Column("pair_propensity", sa.Float(), nullable=True),
        sa.Column("duplicate_of", sa.String(26), nullable=True),
        sa.Column("check_answer", sa.String(8), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("assigned_to", sa.String(26), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("batch", sa.String(64), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "selection IN ('uniform', 'uncertainty', 'dts', 'dopt', 'manual', 'check', 'duplicate')",
            name=op.f("ck_comparison_selection"),
        ),
        sa.CheckConstraint("left_run = run_a OR left_run = run_b", name=op.f("ck_comparison_left_run")),
        sa.CheckConstraint(
            "pair_propensity IS NULL OR (pair_propensity > 0 AND pair_propensity <= 1)",
            name=op.f("ck_comparison_propensity"),
        ),
        sa.CheckConstraint("run_a < run_b", name=op.f("ck_comparison_canonical")),
        sa.ForeignKeyConstraint(["assigned_to"], ["labeller.id"], name=op.f("fk_comparison_assigned_to")),
        sa.ForeignKeyConstraint(["duplicate_of"], ["comparison.id"], name=op.f("fk_comparison_duplicate_of")),
        sa.ForeignKeyConstraint(["left_run"], ["run.id"], name=op.f("fk_comparison_left_run")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name=op.f("fk_comparison_prompt_id")),
        sa.ForeignKeyConstraint(["run_a"], ["run.id"], name=op.f("fk_comparison_run_a")),
        sa.ForeignKeyConstraint(["run_b"], ["run.id"], name=op.f("fk_comparison_run_b")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparison")),
    )
    op.create_index("ix_comparison_assigned_to_lease_until", "comparison", ["assigned_to", "lease_until"], unique=False)
    op.create_index(op.f("ix_comparison_prompt_id"), "comparison", ["prompt_id"], unique=False)
    op.create_index(op.f("ix_comparison_run_a"), "comparison", ["run_a"], unique=False)
    op.create_index(op.f("ix_comparison_run_b"), "comparison", ["run_b"], unique=False)


def _decision() -> None:
    op.create_table(
        "decision",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("propensities", sa.LargeBinary(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=True),
        sa.Column("scheme", sa.String(16), nullable=False),
        sa.Column("epsilon", sa.Float(), nullable=False),
        sa.Column("uncertainty", sa.LargeBinary(), nullable=True),
        sa.Column("explanation", Json, nullable=False),
        sa.CheckConstraint(
            "scheme IN ('argmax', 'sample', 'mixture', 'override', 'slate')", name=op.f("ck_decision_scheme")
        ),
        sa.CheckConstraint(
            "propensity IS NULL OR (propensity > 0 AND propensity <= 1)", name=op.f("ck_decision_propensity")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_decision_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("run_id", "step", name=op.f("uq_decision_run_id_step")),
    )


def _promotion() -> None:
    op.create_table(
        "promotion",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("router", sa.String(40), nullable=False),
        sa.Column("version_id", sa.String(128), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("from_version", sa.String(128), nullable=True),
        sa.Column("evaluation_id", sa.String(26), nullable=True),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.CheckConstraint("action IN ('promote', 'rollback')", name=op.f("ck_promotion_action")),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluation.id"], name=op.f("fk_promotion_evaluation_id")),
        sa.ForeignKeyConstraint(["from_version"], ["router_version.id"], name=op.f("fk_promotion_from_version")),
        sa.ForeignKeyConstraint(["version_id"], ["router_version.id"], name=op.f("fk_promotion_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
    )
    op.create_index("ix_promotion_router_at", "promotion", ["router", "at"], unique=False)


def _trace() -> None:
    op.create_table(
        "trace",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("path", sa.String(255), nullable=True),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("layers", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("pruned_at", UtcTime(), nullable=True),
        sa.CheckConstraint(
            "pruned_at IS NOT NULL OR ((path IS NULL) <> (inline IS NULL))", name=op.f("ck_trace_one_place")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_trace_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_trace")),
    )


def _label() -> None:
    op.create_table(
        "label",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("comparison_id", sa.String(26), nullable=False),
        sa.Column("labeller_id", sa.String(26), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("supersedes", sa.String(26), nullable=True),
        sa.Column("restores", sa.String(26), nullable=True),
        sa.Column("choice", sa.String(8), nullable=True),
        sa.Column("strength", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("source_detail", Json, nullable=False),
        sa.Column("revealed_before", sa.Boolean(), nullable=False),
        sa.Column("lead_ms", sa.Integer(), nullable=False),
        sa.Column("client_token", sa.String(128), nullable=False),
        sa.Column("ui_version", sa.String(32), nullable=False),
        sa.Column("guideline_version", sa.String(32), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("(action = 'vote') = (choice IS NOT NULL)", name=op.f("ck_label_vote_has_choice")),
        sa.CheckConstraint("action IN ('vote', 'undo', 'tombstone')", name=op.f("ck_label_action")),
        sa.CheckConstraint(
            "choice IS NULL OR choice IN ('a', 'b', 'tie', 'bad', 'skip')", name=op.f("ck_label_choice")
        ),
        sa.CheckConstraint("source IN ('human', 'judge', 'rule', 'import', 'transfer')", name=op.f("ck_label_source")),
        sa.CheckConstraint(
            "strength IS NULL OR (strength BETWEEN 1 AND 3 AND choice IN ('a', 'b'))", name=op.f("ck_label_strength")
        ),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_label_comparison_id")),
        sa.ForeignKeyConstraint(["labeller_id"], ["labeller.id"], name=op.f("fk_label_labeller_id")),
        sa.ForeignKeyConstraint(["restores"], ["label.id"], name=op.f("fk_label_restores")),
        sa.ForeignKeyConstraint(["supersedes"], ["label.id"], name=op.f("fk_label_supersedes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        sa.UniqueConstraint("client_token", name=op.f("uq_label_client_token")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_label_supersedes")),
    )
    op.create_index(op.f("ix_label_comparison_id"), "label", ["comparison_id"], unique=False)
    op.create_index("ix_label_labeller_id_created_at", "label", ["labeller_id", "created_at"], unique=False)
    op.create_index(op.f("ix_label_source"), "label", ["source"], unique=False)


def _rationale() -> None:
    op.create_table(
        "rationale",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("label_id", sa.String(26), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("model", sa.String(255), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("deleted_at", UtcTime(), nullable=True),
        sa.CheckConstraint("source IN ('human', 'machine')", name=op.f("ck_rationale_source")),
        sa.CheckConstraint("length(text) <= 4000", name=op.f("ck_rationale_text_length")),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_rationale_label_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rationale")),
    )
    op.create_index(op.f("ix_rationale_label_id"), "rationale", ["label_id"], unique=False)


def _training_label() -> None:
    op.create_table(
        "training_label",
        sa.Column("training_run_id", sa.String(26), nullable=False),
        sa.Column("label_id", sa.String(26), nullable=False),
        sa.Column("split", sa.String(8), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("target", sa.Float(), nullable=False),
        sa.Column("action", sa.String(8), nullable=False),
        sa.CheckConstraint("action IN ('as is', 'soft', 'flip', 'margin')", name=op.f("ck_training_label_action")),
        sa.CheckConstraint("split IN ('train', 'valid', 'test')", name=op.f("ck_training_label_split")),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_training_label_label_id")),
        sa.ForeignKeyConstraint(
            ["training_run_id"], ["training_run.id"], name=op.f("fk_training_label_training_run_id")
        ),
        sa.PrimaryKeyConstraint("training_run_id", "label_id", name=op.f("pk_training_label")),
    )
    op.create_index(op.f("ix_training_label_label_id"), "training_label", ["label_id"], unique=False)
