"""Write a whole copy of a SQLite database to one file, while others may write.

The copy holds what lies in files beside the database, too: large traces and the labellers' key. Source:
sqlite.org/lang_vacuum.html, "VACUUM INTO".
"""

from pathlib import Path

from sqlmodel import Session, col, select

from playground.errors import StorageError
from playground.store.database import Database
from playground.store.people import keep_key_in_database
from playground.store.tables import TraceRow
from playground.store.traces import put_inline

REMEDY = "Choose another file, or free some space."


def back_up(database: Database, target: Path) -> int:
    """Write a copy of `database` to `target` and return how many traces are missing in it.

    The file gets its name when it is complete. Raise StorageError when there is such a file, when the disk refuses,
    or for a database on a server.
    """
    if not database.is_sqlite:
        raise StorageError(
            "This database is on a server, so it cannot be copied to a file here.",
            "Use the server's own tool: pg_dump.",
        )
    if target.exists():
        raise StorageError(f"{target} is there already.", "Choose another file.")
    if not target.resolve().parent.is_dir():
        raise StorageError(f"There is no folder {target.parent}.", "Make it, or choose another one.")
    partial = target.with_name(f"{target.name}.part")
    try:
        partial.unlink(missing_ok=True)
        with database.direct() as cursor:
            cursor.execute("VACUUM INTO ?", (str(partial),))
        missing = _complete(partial, database.folder)
        partial.replace(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}.", REMEDY) from error
    finally:
        partial.unlink(missing_ok=True)
    return missing


def _complete(copy: Path, folder: Path | None) -> int:
    """Put into the copy what the original keeps in `folder`. Return how many traces are not there."""
    made = Database(f"sqlite:///{copy}", data_dir=folder)
    missing = 0
    try:
        made.upgrade()  # tables of an older version have no place for the key
        with made.write() as session:
            keep_key_in_database(session)
            for run_id in session.exec(select(TraceRow.run_id).where(col(TraceRow.path).is_not(None))).all():
                missing += _is_missing(session, run_id)
    finally:
        made.close()
    return missing


def _is_missing(session: Session, run_id: str) -> bool:
    try:
        put_inline(session, run_id)
    except StorageError:
        return True
    return False
