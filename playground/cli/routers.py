"""`routers`: everything that can be picked to route a prompt, and `routers fit` to make one's shipped parameters."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import base_with_progress, data_folder, read_settings, ready_runtime
from playground.errors import InvalidRequest
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.learn.gates.fitting import GateFitting
    from playground.learn.gates.trainer import GateProgress

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
    *,
    data: Annotated[Path | None, typer.Option(help="For a gate: folder of the experts' training data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the parameters; data/routers/NAME else.")] = None,
    joint: Annotated[bool, typer.Option(help="LoRA-Mixer: train the experts along, into --out.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="For a gate: steps through the model.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the parameters that ship with a router and measure them: from example prompts, or for a gate by training."""
    with replying(as_json) as reply:
        settings = read_settings()
        # All of these import torch: only when there is something to fit.
        from playground.routers.base import ROUTERS, GateRouter  # noqa: PLC0415
        from playground.routers.library import SHIPPED, fit_shipped  # noqa: PLC0415

        if issubclass(ROUTERS.get(name), GateRouter):
            if joint and (out is None or name != "lora_mixer"):
                raise InvalidRequest("Only lora_mixer trains its experts along, and never in place.", "Give --out.")
            fitting = _gate_fitting(settings, reply, data_folder(data, settings, small=True))
            if joint and out is not None:
                reply.value = fitting.joint(out, steps=steps)
                reply.say(f"{name} and the experts trained with it are in {out}.")
                return
            reply.value = fitting.fit(name, out or SHIPPED / name, steps=steps)
        else:
            from playground.encode.encoder import Encoder  # noqa: PLC0415

            reply.value = fit_shipped(name, Encoder(settings), load_catalogue(settings.experts_dir), out)
            if reply.value["without_card"]:
                reply.say(f"Not installed, so measured without their cards: {', '.join(reply.value['without_card'])}.")
        reply.say(f"{name}: {reply.value['figure']}")


@routers.command()
def ablate(
    data: Annotated[Path | None, typer.Option(help="Folder of the experts' training data.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training; 30 else.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """LoRA-Mixer's loss ablation: the same gate trained with no balance loss, the usual one, and SBL."""
    with replying(as_json) as reply:
        settings = read_settings()
        fitting = _gate_fitting(settings, reply, data_folder(data, settings, small=True))
        reply.value = fitting.ablate(steps=steps)
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


def _gate_fitting(settings: Settings, reply: Reply, data: Path) -> "GateFitting":
    """Base, bank and encoder loaded for making gates."""
    from playground.encode.encoder import Encoder  # noqa: PLC0415
    from playground.learn.gates.fitting import GateFitting  # noqa: PLC0415
    from playground.serving.loading import load_bank  # noqa: PLC0415  (imports torch)

    def show(step: "GateProgress") -> None:
        text = f"{step.phase}: step {step.step} of {step.steps}, loss {step.loss:.3f}, balance {step.balance:.2f}"
        reply.progress(text, ends=step.step % max(20, step.steps // 10) == 0)

    base = base_with_progress(settings, reply)
    bank, pool = load_bank(base, load_catalogue(settings.experts_dir))
    return GateFitting(base, bank, pool, Encoder(settings), data, settings.cache_dir / "training", show)
