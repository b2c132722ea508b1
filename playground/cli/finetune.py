"""`finetune`: teach a router from the labels that stand. Makes a draft; `versions promote` puts it in force."""

from typing import Annotated, Any

import typer

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import ready_runtime


def finetune(
    router: Annotated[str, typer.Option(help="The router to teach.")] = "linear",
    objective: Annotated[str, typer.Option(help="What is optimised: dpo or bt.")] = "dpo",
    beta: Annotated[float | None, typer.Option(help="How far it may move from the version in force.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a router on the labels; prints accuracy before and after on prompts that were held out."""
    raise NotImplementedError
