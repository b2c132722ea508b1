"""`experts`: list them, train one, or measure all of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from playground.cli.measuring import measuring, words
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import base_with_progress, data_folder, read_settings
from playground.experts.catalogue import load_catalogue

DataOption = Annotated[Path | None, typer.Option(help="Folder of data sets; the setting PLAYGROUND_BENCH_DATA else.")]
SystemsOption = Annotated[str, typer.Option(help="Only these systems beside the base, comma-separated.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure anew what was measured and kept before.")]
ENOUGH_ROWS = 8  # a bootstrap of fewer is too sure of itself

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
    *,
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
        from playground.learn.experts import trainer as expert_trainer  # noqa: PLC0415

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
    *,
    data: DataOption = None,
    test: Annotated[Path | None, typer.Option(help="Folder whose test rows are measured instead.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows of each set.")] = None,
    exact: Annotated[int | None, typer.Option(min=0, help="Exact answers to this many rows; 0 for none.")] = None,
    sets: Annotated[str, typer.Option(help="Only these sets, comma-separated.")] = "",
    systems: SystemsOption = "",
    fresh: FreshOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure every expert, the even mixture and every gate on every set, with intervals. Goes on where it was cut."""
    with replying(as_json) as reply:
        # the test folder's rows alone count; without one, those of the data folder
        source = data_folder(test or data, read_settings(), small=True)
        with measuring(reply, systems, fresh=fresh) as (measurer, compared):
            from playground.learn.measuring import evaluate as learn  # noqa: PLC0415  (imports torch)

            reply.value = learn.evaluate(
                measurer,
                compared,
                data=source,
                names=words(sets) or learn.MEASURED,
                limit=learn.DEFAULT_LIMIT if limit is None else limit,
                exact=learn.EXACT_ROWS if exact is None else exact,
            )
        _tell(reply)


@experts.command()
def refusals(
    *,
    data: DataOption = None,
    test: Annotated[Path | None, typer.Option(help="Folder whose test rows are measured instead.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows of each set.")] = None,
    systems: SystemsOption = "",
    fresh: FreshOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure how often harmful prompts and prompts that only look alike are refused, with intervals."""
    with replying(as_json) as reply:
        source = data_folder(test or data, read_settings(), small=True)
        with measuring(reply, systems, fresh=fresh) as (measurer, compared):
            from playground.learn.measuring import evaluate as learn  # noqa: PLC0415  (imports torch)

            count = learn.DEFAULT_LIMIT if limit is None else limit
            reply.value = learn.refusals(measurer, compared, data=source, limit=count)
        reply.table(
            [
                {"prompts": kind, "system": name, "refused": f"{one['rate']:.3f}", "95 %": _between(one)}
                for kind, found in reply.value["refusals"].items()
                for name, one in found.items()
            ]
        )


def _tell(reply: Reply) -> None:
    """The scores as one table, systems by sets; + and - mark gains and losses over the base that are sure at 95 %."""
    found = reply.value["sets"]
    lines: dict[str, dict[str, str]] = {}
    for name, values in found.items():
        for system, one in values["systems"].items():
            gain = one.get("gain", {"low": 0, "high": 0})
            known = values["n"] >= ENOUGH_ROWS
            sure = "+" if known and gain["low"] > 0 else "-" if known and gain["high"] < 0 else " "
            lines.setdefault(system, {"system": system})[f"{name} ({values['n']})"] = f"{one['score']:.3f}{sure}"
        for system, one in values.get("exact", {}).items():
            lines[system][f"{name} exact ({one['n']})"] = f"{one['score']:.3f}"
    for column, key in (("average", "average"), ("of oracle", "share_of_oracle")):
        for system, value in reply.value[key].items():
            lines[system][column] = f"{value:.3f}"
    headings = list(dict.fromkeys(key for line in lines.values() for key in line))
    reply.table([{key: line.get(key, "–") for key in headings} for line in lines.values()])
    losses = [name for name, values in found.items() if values["metric"] == "loss"]
    if losses:
        reply.say(f"Lower is better for {', '.join(losses)}, in nats per token; + is always better than the base.")
    if reply.value["missing"]:
        reply.say(f"The folder has no rows of {', '.join(reply.value['missing'])}.")
    if reply.value["interrupted"]:
        reply.say("This was interrupted: the sets above are whole. Run it again to go on.")


def _between(one: dict[str, float]) -> str:
    return f"{one['low']:.3f} to {one['high']:.3f}"
