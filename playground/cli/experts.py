"""`experts`: list them, train one, or measure all of them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import base_with_progress, data_folder, read_settings
from playground.cli.versions import opened
from playground.errors import PlaygroundError
from playground.experts.catalogue import load_catalogue

if TYPE_CHECKING:
    from playground.learn.versions import Versions
    from playground.routers.base import Gate

DataOption = Annotated[Path | None, typer.Option(help="Folder of data sets; the setting PLAYGROUND_BENCH_DATA else.")]

experts = typer.Typer(help="The experts: list, train, measure.")


@experts.callback(invoke_without_command=True)
def list_experts(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the experts that are installed."""
    if context.invoked_subcommand is not None:
        return
    with replying(as_json) as reply:
        settings = read_settings()
        pool = load_catalogue(settings.experts_dir, settings.added_dir)
        reply.value = {"experts": [asdict(expert) for expert in pool.experts]}
        reply.table(
            [
                {
                    "name": expert.name,
                    "kind": expert.kind,
                    "ready": "yes" if expert.ready else "no",
                    "licence": expert.licence or "?",
                    "trained on": expert.trained_on or "–",
                    "figure": expert.figure or "–",
                }
                for expert in pool.experts
            ]
        )
        for expert in pool.experts:
            if not expert.ready:
                reply.say(f"{expert.name} is not ready: {expert.reason}")


@experts.command()
def train(
    name: Annotated[str, typer.Argument(help="Which expert to train: the name of a recipe.")],
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Where its folder goes; the experts folder else.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same training.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train a LoRA expert; a training that was cut goes on where it was. Prints the expert's card."""
    with replying(as_json) as reply:
        settings = read_settings()
        # the small set must not replace a shipped expert by accident: it needs a folder of its own
        source = data_folder(data, settings, small=out is not None)
        # Each imports torch and transformers: only when there is something to train.
        from playground.learn import expert_trainer  # noqa: PLC0415

        def show(step: expert_trainer.TrainingProgress) -> None:
            valid = "" if step.validation_loss is None else f", validation {step.validation_loss:.3f}"
            text = f"step {step.step} of {step.steps}, loss {step.loss:.3f}{valid}, {step.seconds:.1f} s"
            reply.progress(text, ends=bool(valid))

        reply.value = expert_trainer.train(
            name,
            base_with_progress(settings, reply),
            data=source,
            out=out or settings.experts_dir,
            checkpoints=settings.cache_dir / "training",
            seed=seed,
            progress=show,
        )
        reply.say(f"{name} is in {(out or settings.experts_dir) / name}.")


@experts.command()
def evaluate(
    data: DataOption = None,
    test: Annotated[Path | None, typer.Option(help="Folder whose test rows are measured instead.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many rows of each set.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure every expert, the even mixture and every gate on every set, with intervals."""
    with replying(as_json) as reply, opened() as versions:
        settings = read_settings()
        # with --test alone, its own folder serves for both
        source = data_folder(data or test, settings, small=True)
        measured = None if test is None else data_folder(test, settings)
        from playground.assembly import load_bank  # noqa: PLC0415  (imports torch)
        from playground.learn.evaluate import DEFAULT_LIMIT  # noqa: PLC0415  (as above)
        from playground.learn.evaluate import evaluate as measure  # noqa: PLC0415  (as above)

        base = base_with_progress(settings, reply)
        bank, _ = load_bank(base, load_catalogue(settings.experts_dir))
        reply.value = measure(
            base,
            bank,
            ready_gates(versions, bank.names, reply),
            data=source,
            test=measured,
            limit=DEFAULT_LIMIT if limit is None else limit,
            progress=lambda text, done, total: reply.progress(f"{text}, {done + 1} of {total}"),
        )
        reply.progress("")
        for name, found in reply.value["sets"].items():
            reply.say(f"{name} ({found['metric']}, n={found['n']})")
            for system, score in found["systems"].items():
                reply.say(f"  {system:<16} {score['score']:.3f}  [{score['low']:.3f}, {score['high']:.3f}]")


def ready_gates(versions: "Versions", experts: Sequence[str], reply: Reply) -> dict[str, "Gate"]:
    """The gates in force whose experts are all among `experts`; the others are named on standard error."""
    from playground.routers.base import ROUTERS, GateRouter  # noqa: PLC0415  (imports torch)

    gates = {}
    for name in ROUTERS:
        if not issubclass(ROUTERS.get(name), GateRouter):
            continue
        try:
            loaded, _ = versions.load(name)
        except PlaygroundError as error:
            reply.progress(f"{name} is left out: {error.message}", ends=True)
            continue
        if isinstance(loaded, GateRouter) and set(loaded.experts) <= set(experts):
            gates[name] = loaded.gate
        else:
            reply.progress(f"{name} is left out: it needs experts that are not installed.", ends=True)
    return gates
