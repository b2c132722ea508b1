"""`routers`: everything that can be picked to route a prompt, and `routers fit` to make one's shipped parameters."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings, ready_runtime
from playground.experts.catalogue import load_catalogue

routers = typer.Typer(help="The routers: list them, or fit one on the example prompts.")


@routers.callback(invoke_without_command=True)
def list_routers(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the routers, with where they come from, what they were trained on and whether they are ready."""
    if context.invoked_subcommand is not None:
        return
    with replying(as_json) as reply, ready_runtime(reply) as runtime:
        found = runtime.routers()
        reply.value = {"routers": [asdict(router) for router in found]}
        reply.table(
            [
                {
                    "name": router.name,
                    "level": router.level,
                    "ready": "yes" if router.ready else "no",
                    "title": router.title,
                    "trained from": router.trained_from,
                    "figure": router.figure or "–",
                }
                for router in found
            ]
        )
        for router in found:
            if not router.ready:
                reply.say(f"{router.name} is not ready: {router.reason}")


@routers.command()
def fit(
    name: Annotated[str, typer.Argument(help="A prompt-level router.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the parameters; data/routers/NAME else.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a router on the example prompts, write the parameters that ship with it, and measure it."""
    with replying(as_json) as reply:
        settings = read_settings()
        # Both import the sentence encoder's libraries: only when there is something to fit.
        from playground.encode.encoder import Encoder  # noqa: PLC0415
        from playground.routers.library import fit_shipped  # noqa: PLC0415

        reply.value = fit_shipped(name, Encoder(settings), load_catalogue(settings.experts_dir), out)
        reply.say(f"{name}: {reply.value['figure']}")
