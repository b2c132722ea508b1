"""`versions`: the versions of a router; put one in force, or go back."""

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from playground.actions.versions import opened_versions
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

versions = typer.Typer(help="Router versions: list, promote, roll back.")


@versions.callback(invoke_without_command=True)
def list_versions(
    context: typer.Context,
    router: Annotated[str, typer.Option(help="The router whose versions are listed.")] = "linear",
    as_json: JsonFlag = False,
) -> None:
    """List the versions of a router, newest first. One of them is in force."""
    if context.invoked_subcommand is not None:
        return
    with replying(as_json) as reply, opened_versions(read_settings()) as stored:
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
    reason: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Put a version in force. Earlier versions stay, and `rollback` returns to them."""
    with replying(as_json) as reply, opened_versions(read_settings()) as stored:
        stored.promote(version, by=who(), reason=reason)
        reply.value = {"promoted": version}
        reply.say(f"{version} is in force.")


@versions.command()
def rollback(
    router: Annotated[str, typer.Argument(help="The router to take back to its previous version.")],
    as_json: JsonFlag = False,
) -> None:
    """Put the previous version of a router in force again."""
    with replying(as_json) as reply, opened_versions(read_settings()) as stored:
        version = stored.rollback(router, by=who())
        reply.value = {"router": router, "current": version}
        reply.say(f"{version} is in force again.")


@versions.command()
def shadow(
    version: Annotated[str, typer.Argument(help="The draft that decides beside, or `off`.")],
    router: Annotated[str, typer.Option(help="The router it belongs to.")] = "linear",
    as_json: JsonFlag = False,
) -> None:
    """Let a draft decide beside the version in force, without serving. The Fine-tune tab shows where they differ."""
    with replying(as_json) as reply, opened_versions(read_settings()) as stored:
        stored.set_shadow(router, None if version == "off" else version)
        reply.value = {"router": router, "shadow": stored.shadow(router)}
        reply.say("No version decides beside." if version == "off" else f"{version} decides beside each run.")


def who() -> str:
    """Return the name for the record of promotions: the account that runs the command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
