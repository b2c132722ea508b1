"""`labels export`: every label in one of the exchange formats. The ending of the file chooses it."""

from pathlib import Path
from typing import Annotated

import typer

from playground.cli.db import open_database
from playground.cli.reply import JsonFlag, replying
from playground.errors import StorageError
from playground.exchange.base import FORMATS, format_of
from playground.store.label_views import current_labels

labels = typer.Typer(no_args_is_help=True, help="The labels people gave.")
ENDINGS = " or ".join(FORMATS.get(name).ending for name in FORMATS)


@labels.callback()
def about() -> None:
    """The labels people gave."""


@labels.command()
def export(path: Annotated[Path, typer.Argument(help=f"File to write: {ENDINGS}.")], as_json: JsonFlag = False) -> None:
    """Write the labels in force with prompts, both answers and routing. Undone votes are left out."""
    with replying(as_json) as reply:
        writer = format_of(path.name)
        database = open_database()
        try:
            database.upgrade()
            with database.read() as session:
                rows = current_labels(session)
        finally:
            database.close()
        try:
            path.write_text(writer.write(rows), "utf-8", newline="")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from error
        reply.value = {"path": str(path), "labels": len(rows)}
        reply.say(f"{len(rows)} labels are in {path}.")
