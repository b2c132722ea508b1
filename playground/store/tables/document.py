"""Write the page `docs/tables.md` from the tables themselves.

The meaning of a table is its class docstring, that of a column its description. Run
`python -m playground.store.tables.document > playground/docs/tables.md` after a change.
"""

import sqlalchemy as sa
from sqlmodel import SQLModel

from playground.store import tables
from playground.store.tables.columns import Json, UtcTime
from playground.store.triggers import PROTECTED

# In the order in which a reader meets them.
ROWS: tuple[type[SQLModel], ...] = (
    tables.PromptRow,
    tables.PoolRow,
    tables.RunRow,
    tables.DecisionRow,
    tables.TraceRow,
    tables.ComparisonRow,
    tables.LabelActRow,
    tables.LabelAspectRow,
    tables.RationaleRow,
    tables.LabellerRow,
    tables.ConsentRow,
    tables.SittingRow,
    tables.SecretRow,
    tables.RouterVersionRow,
    tables.VersionFileRow,
    tables.PromotionRow,
    tables.TrainingRunRow,
    tables.TrainingLabelRow,
    tables.EvaluationRow,
)
COMMAND = "python -m playground.store.tables.document > playground/docs/tables.md"
_TYPES: tuple[tuple[type, str], ...] = (
    (UtcTime, "time"),
    (type(Json), "JSON"),
    (sa.LargeBinary, "bytes"),
    (sa.Boolean, "true or false"),
    (sa.BigInteger, "integer, 64 bits"),
    (sa.Integer, "integer"),
    (sa.Float, "number"),
    (sa.Text, "text"),
)


def tables_markdown() -> str:
    """Return the page `docs/tables.md`: every table, with its columns."""
    parts = [
        "# Tables",
        "",
        "The database holds these tables. SQLite is the default; `DATABASE_URL` moves it to PostgreSQL.",
        f"This page is written by `{COMMAND}`.",
        "A test says when it is stale. The migrations are in `playground/store/migrations`.",
        "",
        "| Table | What it stores |",
        "| --- | --- |",
    ]
    parts += [f"| [`{_name(row)}`](#{_name(row)}) | {_sentence(row)} |" for row in ROWS]
    for row in ROWS:
        parts += _section(row)
    return "\n".join(parts) + "\n"


def _section(row: type[SQLModel]) -> list[str]:
    table: sa.Table = SQLModel.metadata.tables[_name(row)]
    lines = ["", f"## {table.name}", "", _text(row), "", _changes(table.name), ""]
    lines += ["| Column | Type | Null | Key | Meaning |", "| --- | --- | --- | --- | --- |"]
    for column in table.columns:
        null = "yes" if column.nullable else "no"
        meaning = row.model_fields[column.name].description
        lines.append(f"| `{column.name}` | {_type(column)} | {null} | {_key(column)} | {meaning} |")
    return lines


def _name(row: type[SQLModel]) -> str:
    return str(row.__tablename__)


def _text(row: type[SQLModel]) -> str:
    """Return the docstring in one line, said of the table: "Store …" becomes "Stores …"."""
    return " ".join((row.__doc__ or "").split()).replace("Store ", "Stores ", 1)


def _sentence(row: type[SQLModel]) -> str:
    """Return what the table stores: the first sentence without its verb."""
    words = _text(row).removeprefix("Stores ").partition(". ")[0].rstrip(".")
    return f"{words[0].upper()}{words[1:]}."


def _changes(name: str) -> str:
    """Return what the triggers of the database allow."""
    for rule in PROTECTED:
        if rule.table == name and rule.mutable:
            columns = " and ".join(f"`{column}`" for column in rule.mutable)
            return f"The database refuses to delete a row, and to change any column but {columns}."
        if rule.table == name:
            return "The database refuses to change or delete a row."
    return "Rows may be changed and deleted."


def _type(column: "sa.Column[object]") -> str:
    kind = next((words for known, words in _TYPES if isinstance(column.type, known)), "text")
    length = getattr(column.type, "length", None)
    return f"{kind}, at most {length}" if length and kind == "text" else kind


def _key(column: "sa.Column[object]") -> str:
    """Return how the column identifies or refers: primary, unique, or the table it points to."""
    found = ["primary"] if column.primary_key else []
    constraints = column.table.constraints if column.table is not None else set()
    unique = [item for item in constraints if isinstance(item, sa.UniqueConstraint)]
    if any([each.name for each in item.columns] == [column.name] for item in unique):
        found.append("unique")
    found += [f"→ [`{key.column.table.name}`](#{key.column.table.name})" for key in column.foreign_keys]
    return ", ".join(found)


if __name__ == "__main__":
    print(tables_markdown(), end="")
