"""`routers`: everything that can be picked to route a prompt, and `routers fit` to make one's shipped parameters."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import base_with_progress, data_folder, read_settings, ready_runtime
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings

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
    name: Annotated[str, typer.Argument(help="A prompt-level router, or a gate.")],
    data: Annotated[Path | None, typer.Option(help="For a gate: folder of the experts' training data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the parameters; data/routers/NAME else.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the parameters that ship with a router and measure them: from example prompts, or for a gate by training."""
    with replying(as_json) as reply:
        settings = read_settings()
        # All of these import torch: only when there is something to fit.
        from playground.routers.base import ROUTERS, GateRouter  # noqa: PLC0415
        from playground.routers.library import SHIPPED, discover, fit_shipped  # noqa: PLC0415

        discover()
        if issubclass(ROUTERS.get(name), GateRouter):
            reply.value = _fit_gate(
                name, data_folder(data, settings, small=True), out or SHIPPED / name, settings, reply
            )
        else:
            from playground.encode.encoder import Encoder  # noqa: PLC0415

            reply.value = fit_shipped(name, Encoder(settings), load_catalogue(settings.experts_dir), out)
        reply.say(f"{name}: {reply.value['figure']}")


def _fit_gate(name: str, data: Path, out: Path, settings: Settings, reply: Reply) -> dict[str, Any]:
    """The figures of a gate made over the experts that are installed, by training where it learns."""
    from playground.assembly import load_bank  # noqa: PLC0415  (imports torch)
    from playground.encode.encoder import Encoder  # noqa: PLC0415
    from playground.learn.gate_objectives import OBJECTIVES  # noqa: PLC0415
    from playground.learn.gate_trainer import GateProgress, train_gate  # noqa: PLC0415
    from playground.learn.gates_untrained import write_untrained  # noqa: PLC0415

    def show(step: GateProgress) -> None:
        text = (
            f"step {step.step} of {step.steps}, loss {step.loss:.3f}, balance {step.balance:.2f}, {step.seconds:.1f} s"
        )
        reply.progress(text, ends=step.step % 20 == 0)

    base = base_with_progress(settings, reply)
    pool = load_catalogue(settings.experts_dir)
    bank, pool = load_bank(base, pool)
    encoder = Encoder(settings)
    if name not in OBJECTIVES:
        return write_untrained(
            name, base, bank, pool, encoder, data=data, out=out, checkpoints=settings.cache_dir / "training"
        )
    return train_gate(
        name, base, bank, encoder, data=data, out=out, checkpoints=settings.cache_dir / "training", progress=show
    )
