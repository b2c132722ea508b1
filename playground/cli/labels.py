"""`labels export|import`: labels in one of the exchange formats. The ending of the file chooses it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from playground.actions.deletion import delete_by_name
from playground.actions.export import label_formats, write_labels
from playground.actions.imports import import_file, readable_formats
from playground.actions.publish import publish
from playground.cli.boards import agreement, board
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

labels = typer.Typer(no_args_is_help=True, help="The labels people gave.")
ENDINGS = " or ".join(ending for ending, _ in label_formats())


labels.command()(board)
labels.command()(agreement)
FormatOption = Annotated[
    str,
    typer.Option("--format", help=f"Where the ending does not tell: {', '.join(n for n, _ in readable_formats())}."),
]


@labels.command()
def export(path: Annotated[Path, typer.Argument(help=f"File to write: {ENDINGS}.")], as_json: JsonFlag = False) -> None:
    """Write the labels in force with their prompts, answers and routing. Undone votes are left out."""
    with replying(as_json) as reply:
        done = write_labels(read_settings(), path)
        reply.value = {"path": str(path), "labels": done.labels, "warnings": done.warnings}
        reply.say(f"{done.labels} labels are in {path}.")
        for warning in done.warnings:
            reply.say(warning)


@labels.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="File to read, also packed as .gz.")],
    format_name: FormatOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Add the labels of a file: every row is checked, and all are added or none. Nothing that is here changes."""
    with replying(as_json) as reply:
        report = import_file(read_settings(), path, format_name)
        reply.value = {**asdict(report), "problems": [{"row": n, "problem": text} for n, text in report.problems]}
        reply.failed = report.is_refused
        for line in report.lines():
            reply.say(line)


@labels.command()
def push(
    repo: Annotated[str, typer.Argument(help="Data set on the Hugging Face Hub: owner/name.")],
    licence: Annotated[str, typer.Option(help="Licence of prompts and labels, by the Hub's id, such as cc-by-4.0.")],
    public: Annotated[bool, typer.Option(help="Make a new data set public.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Push people's labels to a data set on the Hub, in three formats and with a card."""
    with replying(as_json) as reply:
        address, count = publish(read_settings(), repo, licence, is_public=public)
        reply.value = {"address": address, "labels": count}
        reply.say(f"{count} labels are at {address}.")


@labels.command()
def delete(
    who: Annotated[str, typer.Argument(help="Shown handle or id of a labeller, or the secret that they vote with.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a person's labels, reasons, and the prompts and answers that are theirs alone. It cannot be undone."""
    with replying(as_json) as reply:
        if not yes and not typer.confirm(f"Delete everything of {who}? It cannot be undone.", err=True):
            raise typer.Exit(1)
        done = delete_by_name(read_settings(), who)
        reply.value = asdict(done)
        reply.say(done.sentence)
