"""The page of the tables against the tables."""

from pathlib import Path

from sqlmodel import SQLModel

from playground.store.tables.document import COMMAND, ROWS, tables_markdown

PAGE = Path(__file__).resolve().parents[2] / "playground" / "docs" / "tables.md"


def test_the_page_of_the_tables_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == tables_markdown(), f"run: {COMMAND}"


def test_the_page_has_every_table_and_every_column_has_a_meaning() -> None:
    assert {row.__tablename__ for row in ROWS} == set(SQLModel.metadata.tables)
    assert [
        (row.__name__, name) for row in ROWS for name, field in row.model_fields.items() if not field.description
    ] == []
