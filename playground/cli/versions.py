"""`versions`: what a router has learned over time; put one in force, or go back."""

import contextlib
import getpass
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from playground.actions.database import opened as opened_database
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

if TYPE_CHECKING:
    from playground.serving.versions import Versions

versions = typer.Typer(help="Router versions: list, promote, roll back.")


@contextlib.contextmanager
def opened() -> Iterator["Versions"]:
    """The versions in the database of the settings in force, with its tables up to date."""
    from playground.serving.versions import Versions  # noqa: PLC0415  (imports torch)

    settings = read_settings()
    with opened_database(settings) as database:
        yield Versions(database, settings)


@versions.callback(invoke_without_command=True)
def list_versions(
    context: typer.Context,
    router: Annotated[str, typer.Option(help="Only this router's versions.")] = "linear",
    as_json: JsonFlag = False,
) -> None:
    """List the versions of a router, newest first; one of them is in force."""
    if context.invoked_subcommand is not None:
        return
    with replying(as_json) as reply, opened() as stored:
        current = stored.current(router)
        history = stored.history(router)
        reply.value = {"router": router, "current": current, "versions": [asdict(info) for info in history]}
        reply.table(
            [
                {
                    "version": info.id,
                    "state": info.state,
                    "made": f"{info.created_at:%Y-%m-%d %H:%M}",
                    "parent": info.parent or "–",
                    "note": info.note,
                }
                for info in history
            ]
        )


@versions.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version to put in force.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Put a version in force. Earlier ones stay and can be gone back to."""
    with replying(as_json) as reply, opened() as stored:
        stored.promote(version, by=who(), reason=reason)
        reply.value = {"promoted": version}
        reply.say(f"{version} is in force.")


@versions.command()
def rollback(
    router: Annotated[str, typer.Argument(help="The router to take back to the version before.")],
    as_json: JsonFlag = False,
) -> None:
    """Go back to the version that was in force before."""
    with replying(as_json) as reply, opened() as stored:
        version = stored.rollback(router, by=who())
        reply.value = {"router": router, "current": version}
        reply.say(f"{version} is in force again.")


def who() -> str:
    """Who is named in the record of promotions: the account that runs the command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
