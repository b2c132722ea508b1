"""`routers`: list the routers, and fit one with `routers fit`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.actions import training
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import OptionFlag, data_folder, loading_shown, read_settings, ready_runtime
from playground.options import read_options

if TYPE_CHECKING:
    from playground.learn.gates.trainer import GateProgress

routers = typer.Typer(help="The routers: list them, or fit one on the example prompts.")


@routers.callback(invoke_without_command=True)
def list_routers(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the routers: their source, what they were trained on, and whether they are ready."""
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
    name: Annotated[str, typer.Argument(help="A prompt-level router, or a gate.")],
    *,
    data: Annotated[Path | None, typer.Option(help="For a gate: folder of the experts' training data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the parameters. By default data/routers/NAME.")] = None,
    joint: Annotated[
        bool, typer.Option(help="LoRA-Mixer only: train the experts too, and write all to --out.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="For a gate: number of training steps.")] = None,
    option: OptionFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a router and measure it: on the example prompts, or for a gate on training data."""
    with replying(as_json) as reply:
        settings = read_settings()
        reply.value = training.fit_router(
            training.RouterFit(name, out, data, steps, joint, read_options(option or [])),
            settings,
            gate_data=lambda given: data_folder(given, settings, small=True),
            loading=loading_shown(reply),
            progress=_shown(reply),
        )
        if joint:
            reply.say(f"{name} and the experts trained with it are in {out}.")
            return
        if reply.value.get("without_card"):
            reply.say(f"Not installed, so measured without their cards: {', '.join(reply.value['without_card'])}.")
        reply.say(f"{name}: {reply.value['figure']}")


@routers.command()
def ablate(
    data: Annotated[Path | None, typer.Option(help="Folder of the experts' training data.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training. By default 30.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show LoRA-Mixer's loss ablation: the same gate trained with no balance loss, the usual one, and SBL."""
    with replying(as_json) as reply:
        settings = read_settings()
        source = data_folder(data, settings, small=True)
        reply.value = training.ablate(
            settings, data=source, steps=steps, loading=loading_shown(reply), progress=_shown(reply)
        )
        reply.table(
            [
                {
                    "loss": name,
                    "held-out answer loss": f"{row['loss']:.4f} [{row['low']:.4f}, {row['high']:.4f}]",
                    "balance": f"{row['balance']:.3f}",
                    "token entropy": f"{row['entropy']:.3f}",
                    "right expert's weight": f"{row['own_weight']:.3f}",
                }
                for name, row in reply.value["ablation"].items()
            ]
        )


def _shown(reply: Reply) -> "Callable[[GateProgress], None]":
    """Return a callback that shows a step of a gate's training."""

    def show(step: "GateProgress") -> None:
        text = f"{step.phase}: step {step.step} of {step.steps}, loss {step.loss:.3f}, balance {step.balance:.2f}"
        reply.progress(text, ends=step.step % max(20, step.steps // 10) == 0)

    return show
