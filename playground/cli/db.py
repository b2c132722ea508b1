"""`db upgrade`, `db check`, `db backup`, `db prune` and `db compact`: the database, without starting anything else."""

from pathlib import Path
from typing import Annotated

import typer

from playground.actions import database
from playground.actions.deletion import compact_database
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

HELP = "The database: bring its tables up to date, check it, copy it, or delete old runs."
db = typer.Typer(no_args_is_help=True, help=HELP)


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
            if not row.ok and row.remedy:
                reply.say(f"     {row.remedy}")
        reply.failed = not all(row.ok for row in checks)
        reply.value = {
            "ok": not reply.failed,
            "checks": [
                {"name": row.name, "ok": row.ok, "detail": row.detail, "remedy": "" if row.ok else row.remedy}
                for row in checks
            ],
        }


@db.command()
def backup(path: Annotated[Path, typer.Argument(help="File to write.")], as_json: JsonFlag = False) -> None:
    """Copy the whole database to one file, also while a page runs: labels, runs and traces.

    Router versions and added experts are not in it: copy the folders `versions` and `experts` of PLAYGROUND_DATA_DIR.
    """
    with replying(as_json) as reply:
        made = database.backup(read_settings(), path)
        reply.value = {"path": str(made.path), "bytes": made.bytes, "labels": made.labels, "missing": made.missing}
        reply.say(f"{made.path} holds the whole database: {made.labels} labels, {made.bytes / 1e6:.1f} MB.")
        reply.say("It also holds the key by which labellers are known. Keep it as private as the database.")
        if made.missing:
            reply.say(f"{made.missing} runs had lost their details before. They are in it without them.")


@db.command()
def prune(
    days: Annotated[
        int | None, typer.Option(min=1, help="Age in days. By default the setting PLAYGROUND_KEEP_RUNS_DAYS.")
    ] = None,
    trial: Annotated[bool, typer.Option(help="Only say what would be deleted.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete the details of old runs that nobody judged, also while a page runs. Runs with labels are never touched."""
    with replying(as_json) as reply:
        done = database.prune(read_settings(), days=days, is_trial=trial)
        reply.value = {"runs": done.runs, "bytes": done.bytes, "deleted": not trial}
        verb = "would lose" if trial else "lost"
        reply.say(f"{done.runs} runs {verb} their details: {done.bytes / 1e6:.1f} MB.")


@db.command()
def compact(as_json: JsonFlag = False) -> None:
    """Write the database file anew, without remains of what was deleted. Exit with 1 while a page keeps it open."""
    with replying(as_json) as reply:
        reply.value = {"ok": compact_database(read_settings())}
        reply.failed = not reply.value["ok"]
        reply.say("The database is compact." if reply.value["ok"] else "The database is in use. Stop the page first.")
