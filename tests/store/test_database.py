import contextlib
import importlib.util
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import Session, SQLModel

from playground.errors import StorageError
from playground.store import triggers
from playground.store.database import MIGRATIONS, Database
from playground.store.tables import LabellerRow, PromptRow
from playground.store.tables.columns import now

ROOT = Path(__file__).resolve().parents[2]
TABLES = SQLModel.metadata.sorted_tables


def trigger_names(database: Database) -> set[str]:
    with database.read() as session:
        found = session.connection().exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return set(found.scalars())


def test_every_connection_is_set_up(database: Database) -> None:
    wanted = {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "synchronous": 2,
        "busy_timeout": 10000,
    }
    for opened in (database.read, database.write):
        with opened() as session:
            found = {name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        assert found == wanted


def test_triggers_are_those_of_the_list_after_each_revision(database: Database) -> None:
    revisions = sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert trigger_names(database) == triggers.names({table.name for table in TABLES})
    database.downgrade("base")
    assert trigger_names(database) == set()
    for revision in revisions:
        database.upgrade(revision)
        with database.read() as session:
            tables = set(sa.inspect(session.connection()).get_table_names())
        assert trigger_names(database) == triggers.names(tables) != set()


def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": False})
        assert compare_metadata(context, SQLModel.metadata) == []


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()], ids=["postgresql", "sqlite"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_ddl_compiles_and_every_constraint_has_a_name(table: sa.Table, dialect: sa.Dialect) -> None:
    assert str(CreateTable(table).compile(dialect=dialect))
    for index in table.indexes:
        assert str(CreateIndex(index).compile(dialect=dialect))
    assert all(constraint.name for constraint in table.constraints)


def test_trigger_statements_name_every_protected_table_on_postgresql() -> None:
    columns = {table.name: [column.name for column in table.columns] for table in TABLES}
    text = "\n".join(triggers.statements("postgresql", columns))
    assert all(f"CREATE TRIGGER {name} " in text for name in triggers.names(set(columns)))
    assert "RAISE(ABORT" not in text


def test_upgrade_twice_keeps_everything(database: Database) -> None:
    with database.write() as session:
        session.add(PromptRow(text="hello", text_hash="h", group_id="g"))
    database.upgrade()
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM prompt").scalar() == 1
    assert [check.name for check in database.check() if not check.ok] == []


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as session:
        session.add_all([PromptRow(text=text, text_hash="same", group_id="g") for text in ("one", "two")])
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM prompt").scalar() == 0


def test_full_disk_is_said_and_loses_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(PromptRow(text="kept", text_hash="kept", group_id="g"))
    with database.write() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar()
        session.connection().exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StorageError, match="disk is full") as caught, database.write() as session:
        session.add(PromptRow(text="x" * 200_000, text_hash="big", group_id="g"))
    assert "Free some space" in caught.value.remedy
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT text FROM prompt").scalars().all() == ["kept"]


def test_locked_database_is_said(tmp_path: Path, database: Database) -> None:
    other = sqlite3.connect(tmp_path / "playground.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hasty = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}", busy_ms=50)
    with pytest.raises(StorageError, match="busy"), hasty.write() as session:
        session.add(PromptRow(text="late", text_hash="h", group_id="g"))
    other.execute("ROLLBACK")
    with hasty.write() as session:
        session.add(PromptRow(text="late", text_hash="h", group_id="g"))
    other.close()
    hasty.close()


def test_read_only_database_can_be_read_and_says_why_not_written(tmp_path: Path, database: Database) -> None:
    with database.write() as session:
        session.add(PromptRow(text="kept", text_hash="h", group_id="g"))
    database.close()
    frozen = Database(f"sqlite:///file:{tmp_path / 'playground.sqlite3'}?mode=ro&uri=true")
    with frozen.read() as session:
        assert session.connection().exec_driver_sql("SELECT text FROM prompt").scalar() == "kept"
    with pytest.raises(StorageError, match="cannot be written"), frozen.write() as session:
        session.add(PromptRow(text="no", text_hash="h2", group_id="g"))
    frozen.close()


def test_damaged_and_missing_tables_are_said(tmp_path: Path) -> None:
    path = tmp_path / "broken.sqlite3"
    path.write_bytes(b"this is no database" * 100)
    broken = Database(f"sqlite:///{path}")
    assert [check.ok for check in broken.check()] == [False]
    empty = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    with pytest.raises(StorageError, match="no tables"), empty.read() as session:
        session.get(PromptRow, "x")


def test_writers_in_many_threads_all_get_through(database: Database) -> None:
    def write(i: int) -> None:
        with database.write() as session:
            count = session.connection().exec_driver_sql("SELECT count(*) FROM prompt").scalar()
            session.add(PromptRow(text=f"{count}", text_hash=f"{i}", group_id="g"))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        texts = session.connection().exec_driver_sql("SELECT text FROM prompt").scalars().all()
    assert sorted(map(int, texts)) == list(range(50)), "each saw what the one before had written"


def test_two_programs_may_start_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from playground.store.database import Database; "
        "d = Database(sys.argv[1]); d.upgrade(); print([c.ok for c in d.check()])"
    )
    address = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    started = [
        subprocess.Popen([sys.executable, "-c", code, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    assert all("False" not in output for output in outputs)


def copied_prompts(path: Path, place: Path) -> list[str]:
    """The prompts in a copy of the database's one file, without its log."""
    copy = place / "copy.sqlite3"
    shutil.copyfile(path, copy)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM prompt")]


def test_the_one_file_soon_holds_what_was_written(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.store.database.CHECKPOINT_SECONDS", 0.05)
    database.close()  # what the fixture wrote is out of the way
    for number in range(2):  # the second time, the first move is over
        with database.write() as session:
            session.add(PromptRow(text=f"text {number}", text_hash=f"h{number}", group_id="g"))
        for _ in range(100):
            time.sleep(0.05)
            if database._moving is not None and not database._moving.is_alive():
                break
        assert len(copied_prompts(tmp_path / "playground.sqlite3", tmp_path)) == number + 1


def test_closing_moves_everything_into_the_one_file(tmp_path: Path, database: Database) -> None:
    with database.write() as session:
        session.add(PromptRow(text="kept", text_hash="h", group_id="g"))
    reader = sqlite3.connect(tmp_path / "playground.sqlite3")  # another program has it open: the log stays
    reader.execute("SELECT count(*) FROM prompt").fetchall()
    database.close()
    assert copied_prompts(tmp_path / "playground.sqlite3", tmp_path) == ["kept"]
    reader.close()


def test_a_disk_that_refuses_to_move_the_log_loses_nothing(tmp_path: Path, database: Database) -> None:
    with database.write() as session:
        session.add(PromptRow(text="kept", text_hash="h", group_id="g"))
    frozen = Database(f"sqlite:///file:{tmp_path / 'playground.sqlite3'}?mode=ro&uri=true")
    frozen.checkpoint()
    with frozen.read() as session:
        assert session.connection().exec_driver_sql("SELECT text FROM prompt").scalar() == "kept"
    frozen.close()


def test_newest_tables_are_opened_without_a_write(tmp_path: Path, database: Database) -> None:
    """A full, locked or read-only disk can be looked at."""
    other = sqlite3.connect(tmp_path / "playground.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hasty = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}", busy_ms=50)
    hasty.upgrade()
    other.execute("ROLLBACK")
    other.close()
    frozen = Database(f"sqlite:///file:{tmp_path / 'playground.sqlite3'}?mode=ro&uri=true")
    frozen.upgrade()
    for opened in (hasty, frozen):
        opened.close()


def test_times_come_back_in_utc(database: Database) -> None:
    moment = now()
    with database.write() as session:
        session.add(LabellerRow(id="x", handle="h", created_at=moment))
    with database.read() as session:
        row = session.get(LabellerRow, "x")
        assert row is not None
        assert row.created_at == moment
        assert row.created_at.utcoffset() is not None
    with pytest.raises(sa.exc.StatementError, match="without a zone"), database.write() as session:
        session.add(LabellerRow(id="y", handle="h", created_at=moment.replace(tzinfo=None)))


@pytest.mark.parametrize("address", ["postgres://someone@host/name", "postgresql://someone@host/name"])
def test_hosts_addresses_get_a_driver_or_a_remedy(address: str) -> None:
    if importlib.util.find_spec("psycopg"):
        assert Database(address).url.drivername == "postgresql+psycopg"
        return
    with pytest.raises(StorageError, match="pip install"):
        Database(address)


@pytest.mark.parametrize(
    "address", ["nonsense", "postgresql://me@host:secret/name", "mysql://me:secret@host/name", "://", "\x00", "sqlite"]
)
def test_what_is_no_address_of_ours_is_said_without_its_password(address: str) -> None:
    with pytest.raises(StorageError, match="DATABASE_URL") as caught:
        Database(address)
    assert "secret" not in str(caught.value)
    assert "postgresql://" in caught.value.remedy


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO rationale (id, label_id, source, text, tags, created_at) "
            "VALUES ('r', 'none', 'human', '', '[]', 'x')"
        )


def test_the_store_is_quick_to_import() -> None:
    code = (
        "import sys, playground.store.labels, playground.store.runs, playground.store.versions; "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'gradio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_of_one_database_share_nothing(database: Database) -> None:
    with database.read() as first, database.read() as second:
        assert isinstance(first, Session)
        assert first is not second
