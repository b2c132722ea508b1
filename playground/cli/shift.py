"""`routers shift`: whether gates move their weights between two parts of a prompt that need different experts."""

from pathlib import Path
from typing import Annotated

import typer

from playground.cli.measuring import measuring
from playground.cli.reply import JsonFlag, replying


def shift(
    file: Annotated[
        Path | None, typer.Option(help="Two-part prompts as JSON lines. By default the project's own.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="The split of the prompts: test, or tune for those that set GLIDER.")
    ] = "test",
    systems: Annotated[str, typer.Option(help="Only these gates, comma-separated. By default all.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure how much more weight each gate gives an expert on its own part of a prompt than on the other part."""
    with replying(as_json) as reply:
        with measuring(reply, systems) as found:
            reply.value = found.shift(file, split=split)
        reply.table(
            [
                {
                    "gate": name,
                    "median ratio": "–" if one["median_ratio"] is None else f"{one['median_ratio']:.2f}",
                    "parts": str(one["n"]),
                }
                for name, one in reply.value["two_part"].items()
            ]
        )
