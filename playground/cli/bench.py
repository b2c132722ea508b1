"""`bench …`: measurements of this machine, for progress and for the documentation."""

import typer

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings

bench = typer.Typer(no_args_is_help=True, help="Measurements: how fast routing, observing and mixing decode here.")


@bench.callback()
def about() -> None:
    """Measure this machine."""


@bench.command()
def decode(as_json: JsonFlag = False) -> None:
    """Tokens a second, routed and observed, as ratios to the library's own plain generation."""
    with replying(as_json) as reply:
        settings = read_settings()
        from playground.bench.decode import run  # noqa: PLC0415  (imports torch)

        reply.value = run(settings, progress=lambda text, done, total: reply.progress(text))
        reply.progress("")
        for key, value in reply.value.items():
            reply.say(f"{key}: {value}")
