"""`db upgrade` and `db check`: the tables, without starting anything else."""

import typer

from playground.actions import database
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

db = typer.Typer(no_args_is_help=True, help="The database: bring its tables up to date, or check it.")


@db.command()
def upgrade(as_json: JsonFlag = False) -> None:
    """Create the tables, or bring them to the newest revision. Safe to run again."""
    with replying(as_json) as reply:
        revision = database.upgrade(read_settings())
        reply.value = {"ok": True, "revision": revision}
        reply.say(f"The database is at revision {revision}.")


@db.command()
def check(as_json: JsonFlag = False) -> None:
    """Check that the database opens, is whole and up to date. Exit with 1 when something is wrong."""
    with replying(as_json) as reply:
        checks = database.checks(read_settings())
        for row in checks:
            reply.say(f"{'ok ' if row.ok else 'NOT'}  {row.name}: {row.detail}")
        reply.failed = not all(row.ok for row in checks)
        reply.value = {
            "ok": not reply.failed,
            "checks": [{"name": row.name, "ok": row.ok, "detail": row.detail} for row in checks],
        }
