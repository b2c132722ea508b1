"""`labels export`: every label as a table or as JSON lines."""

from pathlib import Path
from typing import Annotated

import typer

from playground.cli.db import open_database
from playground.cli.reply import JsonFlag, replying
from playground.errors import InvalidRequest, StorageError
from playground.store.label_exports import export_csv, export_jsonl
from playground.store.label_views import current_labels

labels = typer.Typer(no_args_is_help=True, help="The labels people gave.")
WRITERS = {".csv": export_csv, ".jsonl": export_jsonl}


@labels.callback()
def about() -> None:
    """The labels people gave."""


@labels.command()
def export(
    path: Annotated[Path, typer.Argument(help="File to write: .csv or .jsonl.")], as_json: JsonFlag = False
) -> None:
    """Write the labels that stand (undone ones left out) with prompts, both answers and routing."""
    with replying(as_json) as reply:
        if path.suffix not in WRITERS:
            raise InvalidRequest(f"{path.name} has no known ending.", f"End it in {' or '.join(WRITERS)}.")
        database = open_database()
        try:
            database.upgrade()
            with database.read() as session:
                rows = current_labels(session)
        finally:
            database.close()
        try:
            path.write_text(WRITERS[path.suffix](rows), "utf-8", newline="")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from error
        reply.value = {"path": str(path), "labels": len(rows)}
        reply.say(f"{len(rows)} labels are in {path}.")
