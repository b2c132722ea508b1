"""`labels board|agreement`: who is better by the labels, and how far people agree. Read by the group in `labels.py`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playground.actions import boards
from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

if TYPE_CHECKING:
    from playground.cli.reply import Reply

SourceOption = Annotated[str, typer.Option(help=f"Whose labels: {', '.join(boards.SOURCES)}.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="Read the labels of a file instead of the database. Nothing is stored.")
]
FormatOption = Annotated[str, typer.Option("--format", help="The format of the file, where its ending does not tell.")]


def board(
    entity: Annotated[str, typer.Argument(help=f"What is ranked: {', '.join(boards.ENTITIES)}.")] = "expert",
    *,
    source: SourceOption = "human",
    file: FileOption = None,
    format_name: FormatOption = "",
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the standings to this CSV file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank experts, routers or versions, with intervals, and say what the ranking hides."""
    with replying(as_json) as reply:
        rows, source = boards.rows_for(read_settings(), source, file, format_name)
        found = boards.board_of_rows(rows, entity, source)
        reply.value = boards.board_json(found)
        if boards.is_board(found):
            reply.table([{key: str(value) for key, value in row.items()} for row in boards.standings_table(found)])
        for sentence in boards.remarks(found):
            reply.say(sentence)
        if csv is not None and boards.is_board(found):
            boards.write_board(found, csv)
            reply.say(f"The standings are in {csv}.")


def agreement(
    source: SourceOption = "human",
    file: FileOption = None,
    format_name: FormatOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure how far people agree, and how reliable each labeller is."""
    with replying(as_json) as reply:
        rows, source = boards.rows_for(read_settings(), source, file, format_name)
        found = boards.people_of_rows(rows, source)
        reply.value = boards.people_json(found)
        _tell(reply, reply.value)


def _tell(reply: "Reply", value: dict[str, Any]) -> None:
    told = value["agreement"]
    reply.say(f"{told['labels']} labels of {told['people']} people; {told['items']} comparisons have two or more.")
    for name in ("percent", "percent_decided", "alpha_nominal", "alpha_ordinal", "fleiss"):
        middle, low, high = told[name]
        reply.say(f"{name.replace('_', ' ')}: {middle:.3f} [{low:.3f}, {high:.3f}]")
    if told["pairs"]:
        reply.say(f"cohen: {told['cohen']:.3f}, the mean of {told['pairs']} pairs of people")
    reply.table(
        [
            {
                key: "" if item is None else f"{item:.2f}" if isinstance(item, float) else str(item)
                for key, item in row.items()
            }
            for row in value["readers"][:30]
        ]
    )
