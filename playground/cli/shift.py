"""`routers shift`: whether gates move their weights between two parts of a prompt that are different experts' work."""

from pathlib import Path
from typing import Annotated

import typer

from playground.cli.measuring import measuring
from playground.cli.reply import JsonFlag, replying


def shift(
    file: Annotated[Path | None, typer.Option(help="Two-part prompts as JSON lines; the project's own else.")] = None,
    split: Annotated[str, typer.Option(help="Which of them: test, or tune for those GLIDER was set by.")] = "test",
    systems: Annotated[str, typer.Option(help="Only these gates, comma-separated.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure each gate on two-part prompts: its weight of a part's expert there, over that on the other part."""
    with replying(as_json) as reply:
        with measuring(reply, systems) as (measurer, compared):
            from playground.learn.measuring.two_part import ROWS, read_two_part, two_part  # noqa: PLC0415  (imports torch)

            rows = read_two_part(file or ROWS, split=split)
            reply.value = {"two_part": two_part(measurer.base, measurer.encoder, compared, rows)}
        reply.table(
            [
                {
                    "gate": name,
                    "median ratio": "–" if found["median_ratio"] is None else f"{found['median_ratio']:.2f}",
                    "parts": str(found["n"]),
                }
                for name, found in reply.value["two_part"].items()
            ]
        )
