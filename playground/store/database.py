"""Open the database: connections, transactions, migrations, and clear messages when a disk refuses.

Only this module knows the dialects. SQLite runs in WAL mode. Writers begin with `BEGIN IMMEDIATE`, because a read
transaction that writes later can fail at once, whatever the timeout. One writer works at a time in this process.
PostgreSQL is used as it is.

A commit on SQLite lies in the write-ahead log first. Soon after, and when the database is closed, it is moved into the
database's own file: people copy that file.

Sources: sqlite.org/wal.html, sqlite.org/lang_transaction.html, SQLAlchemy's "Serializable isolation / savepoints /
transactional DDL" for pysqlite.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event, exc
from sqlmodel import Session

from playground.errors import StorageError
from playground.settings import Settings
from playground.store import triggers

log = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_MS = 10_000
MIGRATION_LOCK = 0x706C6179  # any number that no other program on the server takes
CHECKPOINT_SECONDS = 5.0  # the longest that a commit lies in the write-ahead log alone

ADDRESSES = "Write it as postgresql://user:password@host/name, or leave it empty for SQLite."

# Part of the database's message, what happened, what to do. The first match counts.
_TROUBLE: tuple[tuple[str, str, str], ...] = (
    (
        "disk is full",
        "The disk is full, so this was not saved.",
        "Free some space and try again; what was saved is safe.",
    ),
    (
        "no space left",
        "The disk is full, so this was not saved.",
        "Free some space and try again; what was saved is safe.",
    ),
    (
        "disk quota",
        "The disk is full, so this was not saved.",
        "Free some space and try again; what was saved is safe.",
    ),
    (
        "database is locked",
        "The database is busy, so this was not saved.",
        "Try again in a moment; what was saved is safe.",
    ),
    (
        "readonly",
        "The database cannot be written to.",
        "Make its file and folder writable, or set PLAYGROUND_DATA_DIR.",
    ),
    (
        "read-only",
        "The database cannot be written to.",
        "Make its file and folder writable, or set PLAYGROUND_DATA_DIR.",
    ),
    (
        "unable to open",
        "The database could not be opened.",
        "Check that its folder exists, or set PLAYGROUND_DATA_DIR.",
    ),
    ("malformed", "The database file is damaged.", "Restore a backup, or move the file away to start afresh."),
    ("not a database", "This file is not a database.", "Move the file away, or set PLAYGROUND_DATA_DIR."),
    ("disk i/o error", "The disk could not be read or written.", "Check the disk; what was saved before is safe."),
    ("connection", "The database server cannot be reached.", "Check DATABASE_URL and that the server is running."),
    ("no such table", "The database has no tables yet.", "Run `python -m playground db upgrade`."),
)


@dataclass(frozen=True)
class DatabaseCheck:
    """Hold one check of the database: its name, whether it passed, what was seen, and what to do when it failed."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Database:
    """Open sessions on one database.

    `data_dir` is the folder of large traces. Its default is the folder of the SQLite file. On a server, everything that
    replicas share lies in the database. `labeller_key` is the secret by which labellers are known; without one, a
    random one is kept.
    """

    def __init__(
        self, address: str, *, data_dir: Path | None = None, busy_ms: int = BUSY_MS, labeller_key: str = ""
    ) -> None:
        self.url = _address(address)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.busy_ms = busy_ms
        self.folder = data_dir or self._folder()
        self._info = {"folder": self.folder, "has_files": self.is_sqlite, "labeller_key": labeller_key}
        self._writer = threading.Lock()
        self._moving: threading.Timer | None = None
        self._engine = self._connect()
        self._write_engine = self._engine.execution_options(playground_write=True)

    @classmethod
    def of(cls, settings: Settings) -> "Database":
        """Return the database that `settings` name."""
        return cls(settings.database_address, data_dir=settings.data_dir, labeller_key=settings.labeller_key)

    def _folder(self) -> Path | None:
        name = self.url.database
        if not self.is_sqlite or not name or name == ":memory:" or name.startswith("file:"):
            return None
        return Path(name).resolve().parent

    def _connect(self) -> sa.Engine:
        if not self.is_sqlite:
            return _server_engine(self.url)
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"The folder of the database cannot be made: {error.strerror}.", "Set PLAYGROUND_DATA_DIR."
                ) from error
        in_memory = self.url.database in (None, "", ":memory:")
        if in_memory:
            engine = sa.create_engine(self.url, poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
        else:
            engine = sa.create_engine(self.url, pool_size=10, max_overflow=90)
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _prepare(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the `begin` listener sends BEGIN
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={self.busy_ms}")
        try:
            if cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0] not in ("wal", "memory"):
                cursor.execute("PRAGMA journal_mode=TRUNCATE")  # a network mount: no shared memory, so no WAL
        except connection.OperationalError:  # a read-only database can still be read
            pass
        for pragma in ("foreign_keys=ON", "recursive_triggers=ON", "synchronous=FULL", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading. Raise StorageError when the database cannot be read."""
        with trouble(), Session(self._engine, expire_on_commit=False, info=self._info) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session that commits when the block ends and undoes everything when it raises.

        Keep the block under 20 ms. Raise StorageError when the database is full, locked, read-only or damaged.
        """
        with (
            self._one_writer(),
            trouble(),
            Session(self._write_engine, expire_on_commit=False, info=self._info) as session,
        ):
            session.connection()  # BEGIN IMMEDIATE now: what follows reads what it will change
            yield session
            session.commit()
        self._move_soon()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Let one writer at a time work in this process. This is fairer and quicker than SQLite's own waiting."""
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=2 * self.busy_ms / 1000):
            raise StorageError("The database is busy, so this was not saved.", "Try again in a moment.")
        try:
            yield
        finally:
            self._writer.release()

    def _move_soon(self) -> None:
        """Have what was written moved into the database's file within `CHECKPOINT_SECONDS`."""
        if not self.is_sqlite or (self._moving is not None and self._moving.is_alive()):
            return
        self._moving = threading.Timer(CHECKPOINT_SECONDS, self.checkpoint)
        self._moving.daemon = True
        self._moving.start()

    def checkpoint(self) -> None:
        """Move what was written from the write-ahead log into the database's file. Wait for nobody.

        A refusal of the disk is logged only: what was written stays safe in the log.
        """
        if not self.is_sqlite:
            return
        try:
            with self.direct() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except StorageError as error:
            log.warning("checkpoint failed reason=%s", error.message)

    @contextmanager
    def direct(self) -> Iterator[Any]:
        """Yield a cursor outside every transaction, for statements that allow none. Raise StorageError."""
        with trouble(), self._engine.connect() as connection:
            cursor = connection.connection.cursor()
            try:
                yield cursor
            except connection.connection.dbapi_connection.Error as error:  # type: ignore[union-attr]
                raise exc.DBAPIError.instance(None, None, error, type(error)) from error
            finally:
                cursor.close()

    def upgrade(self, revision: str = "head") -> None:
        """Bring the tables to `revision` (head by default) and create what is missing. Safe to call at every start.

        Tables at the newest revision are not touched, so a full or read-only disk can still be read. Raise
        StorageError for tables of a newer version.
        """
        wanted = newest_revision() if revision == "head" else revision
        with trouble(), self._engine.connect() as connection:
            current = _revision(connection)
        _known(current)
        if current == wanted:
            return
        with self._one_writer(), trouble(), self._migrating() as connection:
            command.upgrade(self._alembic(connection), revision)
        self._move_soon()

    def downgrade(self, revision: str) -> None:
        """Take the tables back to `revision`; `base` drops them all. For tests and for repairing a bad release."""
        with self._one_writer(), trouble(), self._migrating() as connection:
            _known(_revision(connection))
            command.downgrade(self._alembic(connection), revision)

    @contextmanager
    def _migrating(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that may make a table anew.

        SQLite takes dropping the old table for deleting its rows, so foreign keys are off until the transaction ends.
        Inside one the switch does nothing.
        """
        with self._write_engine.connect() as connection:
            self._foreign_keys(connection, "OFF")
            try:
                with connection.begin():
                    if not self.is_sqlite:  # where several may write at once, the second replica waits for the first
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                    yield connection
            finally:
                self._foreign_keys(connection, "ON")

    def _foreign_keys(self, connection: sa.Connection, switch: str) -> None:
        if self.is_sqlite:
            connection.connection.cursor().execute(f"PRAGMA foreign_keys={switch}")

    @staticmethod
    def _alembic(connection: sa.Connection) -> Config:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        return config

    def check(self) -> list[DatabaseCheck]:
        """Return the checks that `doctor` shows: the database opens, is whole, is newest, and has all its triggers."""
        try:
            with trouble(), self._engine.connect() as connection:
                return self._checks(connection)
        except StorageError as error:
            return [DatabaseCheck("database", False, str(error))]

    def _checks(self, connection: sa.Connection) -> list[DatabaseCheck]:
        where = self.url.render_as_string(hide_password=True)
        found = [DatabaseCheck("database", True, where)]
        tables = set(sa.inspect(connection).get_table_names())
        current = _revision(connection)
        try:
            _known(current)
            remedy = "Run `python -m playground db upgrade`."
        except StorageError as error:
            remedy = f"{error.message} {error.remedy}"
        found.append(DatabaseCheck("revision", current == newest_revision(), current or "none", remedy))
        if self.is_sqlite:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            found.append(DatabaseCheck("journal", mode == "wal", f"{mode}"))
            answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            found.append(DatabaseCheck("integrity", answer == "ok", f"{answer}"))
            broken = len(connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall())
            found.append(DatabaseCheck("foreign keys", broken == 0, f"{broken} broken"))
            there = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='trigger'").scalars())
            missing = triggers.names(tables) - there
            found.append(
                DatabaseCheck("append-only triggers", not missing, f"missing: {sorted(missing)}" if missing else "all")
            )
        return found

    def close(self) -> None:
        """Close every connection. SQLite moves its log into the file when the last one of all programs closes."""
        if self._moving is not None:
            self._moving.cancel()
            self.checkpoint()
        self._engine.dispose()


def _address(text: str) -> sa.URL:
    """Return the address with psycopg 3 as its driver, unless it names another. Hosts write `postgres://`, too.

    Raise StorageError for what is no address of SQLite or PostgreSQL. Its text is not shown: it may hold a password.
    """
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        raise StorageError("DATABASE_URL is not the address of a database.", ADDRESSES) from error
    if url.drivername.partition("+")[0] not in ("sqlite", "postgres", "postgresql"):
        raise StorageError(f"DATABASE_URL names {url.drivername[:20]}, which is not supported.", ADDRESSES)
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def _server_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_size=5, max_overflow=10, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise StorageError(
            f"The driver of the database is not installed: {error.name}.", "Run: pip install 'psycopg[binary]'."
        ) from error


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("playground_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def revisions() -> list[str]:
    """Return every revision that the code knows, oldest first: the numbers of the migration files."""
    return sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def newest_revision() -> str:
    """Return the revision that the code expects."""
    return revisions()[-1]


def _revision(connection: sa.Connection) -> str | None:
    """Return the revision of the tables. Return None when there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _known(revision: str | None) -> None:
    """Raise StorageError for a revision that the code does not know."""
    if revision is not None and revision not in revisions():
        raise StorageError(
            f"The tables of this database are at revision {revision[:40]}, and this version of the playground knows "
            f"them up to {newest_revision()}. Nothing was changed.",
            "Update the playground, or set PLAYGROUND_DATA_DIR or DATABASE_URL to another database.",
        )


@contextmanager
def trouble() -> Iterator[None]:
    """Turn a refusal of the database or the disk into a StorageError that says what to do.

    Integrity errors pass through.
    """
    try:
        yield
    except exc.IntegrityError:
        raise
    except (exc.DBAPIError, exc.TimeoutError) as error:
        cause = str(getattr(error, "orig", None) or error)
        for phrase, message, remedy in _TROUBLE:
            if phrase in cause.lower():
                raise StorageError(message, remedy) from error
        raise StorageError(
            f"The database refused: {cause.splitlines()[0]}.", "Try again. What was saved before is safe."
        ) from error
