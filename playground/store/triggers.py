"""Define the rules that the database itself enforces.

Rows of some tables never change, and both runs of a comparison share its prompt. SQLite's batch migrations make a
table anew and silently drop its triggers. Each revision therefore ends by making all of them again (`recreate`). A
test compares this list with `sqlite_master`.
"""

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Protected:
    """Name a table whose rows are never deleted, and never changed except in the columns `mutable`."""

    table: str
    mutable: tuple[str, ...] = ()


PROTECTED: tuple[Protected, ...] = (
    Protected("label"),
    Protected("label_aspect"),
    Protected("consent"),
    Protected("promotion"),
    Protected("evaluation"),
    Protected("training_label"),
    Protected("router_version"),
    Protected("pool"),
    Protected("decision"),
    Protected("run", ("deleted_at",)),
    Protected("prompt", ("deleted_at",)),
    Protected("rationale", ("deleted_at",)),
    Protected("comparison", ("assigned_to", "lease_until")),
)
SAME_PROMPT = "comparison_same_prompt"

_DIFFERENT_PROMPT = """EXISTS (SELECT 1 FROM run WHERE id IN (NEW.run_a, NEW.run_b) AND prompt_id <> NEW.prompt_id)"""

_POSTGRES_FUNCTIONS = (
    """CREATE OR REPLACE FUNCTION playground_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE OR REPLACE FUNCTION playground_same_prompt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF {_DIFFERENT_PROMPT} THEN
RAISE EXCEPTION 'both runs of a comparison share its prompt' USING ERRCODE = 'integrity_constraint_violation'; END IF;
RETURN NEW; END $$""",
)


def names(tables: set[str]) -> set[str]:
    """Return the triggers that must exist when the database has `tables`."""
    return set(_places(tables))


def _places(tables: set[str]) -> dict[str, str]:
    """Return each trigger that must exist, with the table that it stands on."""
    rules = [rule.table for rule in PROTECTED if rule.table in tables]
    found = {f"{table}_{event}": table for table in rules for event in ("kept", "unchanged")}
    return found | ({SAME_PROMPT: "comparison"} if "comparison" in tables else {})


def statements(dialect: str, columns: dict[str, list[str]]) -> list[str]:
    """Return the SQL that makes every trigger. `columns` maps each existing table to its column names."""
    made = list(_POSTGRES_FUNCTIONS) if dialect == "postgresql" else []
    for rule in PROTECTED:
        if rule.table in columns:
            guarded = ", ".join(f'"{name}"' for name in columns[rule.table] if name not in rule.mutable)
            made += _refusal(dialect, f"{rule.table}_unchanged", f"UPDATE OF {guarded}", rule.table)
            made += _refusal(dialect, f"{rule.table}_kept", "DELETE", rule.table)
    if "comparison" in columns:
        made += _same_prompt(dialect)
    return made


def recreate(connection: sa.Connection) -> None:
    """Drop every trigger and make it again, in the open transaction."""
    inspector = sa.inspect(connection)
    columns = {table: [c["name"] for c in inspector.get_columns(table)] for table in inspector.get_table_names()}
    for statement in statements(connection.dialect.name, columns):
        connection.exec_driver_sql(
            statement.replace("%", "%%") if connection.dialect.name == "postgresql" else statement
        )


def drop(connection: sa.Connection) -> None:
    """Drop every trigger, in the open transaction. A column that a trigger names cannot be dropped.

    `recreate` makes them again.
    """
    for name, table in _places(set(sa.inspect(connection).get_table_names())).items():
        place = f" ON {table}" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{place}")


def _refusal(dialect: str, name: str, event: str, table: str) -> list[str]:
    message = f"rows of {table} are never {'deleted' if event == 'DELETE' else 'changed'}"
    if dialect == "postgresql":
        return [
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION playground_refuse('{message}')",
        ]
    return [
        f"DROP TRIGGER IF EXISTS {name}",
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, '{message}'); END",
    ]


def _same_prompt(dialect: str) -> list[str]:
    if dialect == "postgresql":
        return [
            f"DROP TRIGGER IF EXISTS {SAME_PROMPT} ON comparison",
            f"CREATE TRIGGER {SAME_PROMPT} BEFORE INSERT ON comparison "
            "FOR EACH ROW EXECUTE FUNCTION playground_same_prompt()",
        ]
    return [
        f"DROP TRIGGER IF EXISTS {SAME_PROMPT}",
        f"CREATE TRIGGER {SAME_PROMPT} BEFORE INSERT ON comparison WHEN {_DIFFERENT_PROMPT} "
        "BEGIN SELECT RAISE(ABORT, 'both runs of a comparison share its prompt'); END",
    ]
