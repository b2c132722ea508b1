"""`labels export`: every label in one of the exchange formats. The ending of the file chooses it."""

from pathlib import Path
from typing import Annotated

import typer

from playground.actions.export import label_formats, write_labels
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

labels = typer.Typer(no_args_is_help=True, help="The labels people gave.")
ENDINGS = " or ".join(ending for ending, _ in label_formats())


@labels.callback()
def about() -> None:
    """Keep `export` a command of the group `labels`, although it is the only one."""


@labels.command()
def export(path: Annotated[Path, typer.Argument(help=f"File to write: {ENDINGS}.")], as_json: JsonFlag = False) -> None:
    """Write the labels in force with their prompts, answers and routing. Undone votes are left out."""
    with replying(as_json) as reply:
        count = write_labels(read_settings(), path)
        reply.value = {"path": str(path), "labels": count}
        reply.say(f"{count} labels are in {path}.")
