"""`bench …`: measurements of this machine, for progress and for the documentation."""

from pathlib import Path
from typing import Annotated

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import data_folder, read_settings

bench = typer.Typer(
    no_args_is_help=True,
    help="Measurements of this machine: how fast it decodes, alone and for many.",
)


@bench.callback()
def about() -> None:
    """Measure this machine."""


@bench.command()
def decode(
    rounds: Annotated[int, typer.Option(min=1, help="how often each way is timed")] = 5,
    tokens: Annotated[int, typer.Option(min=2, help="tokens of each answer")] = 64,
    answers: Annotated[bool, typer.Option(help="also measure what int8 weights do to answers")] = True,
    data: Annotated[Path | None, typer.Option(help="folder of data sets with the held texts for that")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tokens a second, routed and observed, as ratios to the library's own plain generation."""
    with replying(as_json) as reply:
        settings = read_settings()
        folder = data_folder(data, settings, small=True)
        from playground.bench import decode, formats  # noqa: PLC0415  (imports torch)

        def show(text: str, done: int, total: int) -> None:
            reply.progress(text)

        reply.value = decode.run(settings, show, rounds=rounds, tokens=tokens)
        if answers:
            reply.progress("comparing the answers with int8 weights")
            reply.value["int8"] = formats.run(settings, folder, tokens=tokens)
        _tell(reply)


@bench.command()
def load(
    visitors: Annotated[int, typer.Option(min=1, help="how many run at once")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="how often all run alone and together")] = 3,
    tokens: Annotated[int, typer.Option(min=2, help="tokens of each answer")] = 48,
    votes: Annotated[int, typer.Option(min=1, help="votes of each visitor")] = 25,
    as_json: JsonFlag = False,
) -> None:
    """Visitors with routers of their own at once: speed over one, mixed-up runs, lost votes."""
    with replying(as_json) as reply:
        from playground.bench import load  # noqa: PLC0415  (imports torch)

        def show(text: str, done: int, total: int) -> None:
            reply.progress(text)

        reply.value = load.run(read_settings(), show, visitors=visitors, tokens=tokens, rounds=rounds, votes=votes)
        _tell(reply)


def _tell(reply: Reply) -> None:
    reply.progress("")
    for key, value in reply.value.items():
        reply.say(f"{key}: {value}")
