"""`db upgrade` and `db check`: the tables, without starting anything else."""

import typer

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings
from playground.store.database import Database

db = typer.Typer(no_args_is_help=True, help="The database: bring its tables up to date, or look at its health.")


def open_database() -> Database:
    """The database of the settings in force."""
    settings = read_settings()
    return Database(settings.database_address, data_dir=settings.data_dir)


@db.command()
def upgrade(as_json: JsonFlag = False) -> None:
    """Create the tables, or bring them to the newest revision. Safe to run again."""
    with replying(as_json) as reply:
        database = open_database()
        try:
            database.upgrade()
            checks = database.check()
        finally:
            database.close()
        revision = next((check.detail for check in checks if check.name == "revision"), "")
        reply.value = {"ok": True, "revision": revision}
        reply.say(f"The database is at revision {revision}.")


@db.command()
def check(as_json: JsonFlag = False) -> None:
    """Look at the database: opens, whole, newest revision, triggers. Exit status 1 when something is wrong."""
    with replying(as_json) as reply:
        database = open_database()
        try:
            checks = database.check()
        finally:
            database.close()
        for row in checks:
            reply.say(f"{'ok ' if row.ok else 'NOT'}  {row.name}: {row.detail}")
        reply.failed = not all(row.ok for row in checks)
        reply.value = {
            "ok": not reply.failed,
            "checks": [{"name": row.name, "ok": row.ok, "detail": row.detail} for row in checks],
        }
