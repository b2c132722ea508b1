"""`experts`: list them, train one, or measure all of them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.actions import training
from playground.actions.experts import installed
from playground.cli.measuring import measuring, words
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import data_folder, loading_shown, read_settings

if TYPE_CHECKING:
    from playground.learn.experts.trainer import TrainingProgress

DataOption = Annotated[
    Path | None, typer.Option(help="Folder of data sets. By default the setting PLAYGROUND_BENCH_DATA.")
]
TestOption = Annotated[Path | None, typer.Option(help="Folder of data sets with test rows. By default that of --data.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="At most this many rows of each set. By default 100.")]
SystemsOption = Annotated[str, typer.Option(help="Only these systems and the base, comma-separated. By default all.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure everything again, also what was measured before.")]
ENOUGH_ROWS = 8  # a bootstrap of fewer is too sure of itself

experts = typer.Typer(help="The experts: list, train, measure.")


@experts.callback(invoke_without_command=True)
def list_experts(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the experts that are installed."""
    if context.invoked_subcommand is not None:
        return
    with replying(as_json) as reply:
        pool = installed(read_settings())
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
    name: Annotated[str, typer.Argument(help="The expert to train: the name of a recipe.")],
    *,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Where its folder goes. By default the folder of experts.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same training.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train a LoRA expert and print its card. An interrupted training continues where it stopped."""
    with replying(as_json) as reply:
        settings = read_settings()
        # the small set must not replace a shipped expert by accident: it needs a folder of its own
        source = data_folder(data, settings, small=out is not None)

        def show(step: "TrainingProgress") -> None:
            valid = "" if step.validation_loss is None else f", validation {step.validation_loss:.3f}"
            text = f"step {step.step} of {step.steps}, loss {step.loss:.3f}{valid}, {step.seconds:.1f} s"
            reply.progress(text, ends=bool(valid))

        loading = loading_shown(reply)
        reply.value = training.train_expert(
            name, settings, data=source, out=out, seed=seed, loading=loading, progress=show
        )
        reply.say(f"{name} is in {(out or settings.experts_dir) / name}.")


@experts.command()
def evaluate(
    *,
    data: DataOption = None,
    test: TestOption = None,
    limit: LimitOption = None,
    exact: Annotated[
        int | None, typer.Option(min=0, help="Rows of each set for exact answers. By default 16; 0 for none.")
    ] = None,
    sets: Annotated[str, typer.Option(help="Only these sets, comma-separated. By default all.")] = "",
    systems: SystemsOption = "",
    fresh: FreshOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure every expert, the even mix and every gate on every set. An interrupted measurement continues."""
    with replying(as_json) as reply:
        # the test folder's rows alone count; without one, those of the data folder
        source = data_folder(test or data, read_settings(), small=True)
        with measuring(reply, systems, fresh=fresh) as found:
            reply.value = found.evaluate(source, sets=words(sets), limit=limit, exact=exact)
        _tell(reply)


@experts.command()
def refusals(
    *,
    data: DataOption = None,
    test: TestOption = None,
    limit: LimitOption = None,
    systems: SystemsOption = "",
    fresh: FreshOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure how often harmful prompts are refused, and harmless prompts that only look harmful."""
    with replying(as_json) as reply:
        source = data_folder(test or data, read_settings(), small=True)
        with measuring(reply, systems, fresh=fresh) as measured:
            reply.value = measured.refusals(source, limit=limit)
        reply.table(
            [
                {"prompts": kind, "system": name, "refused": f"{one['rate']:.3f}", "95 %": _between(one)}
                for kind, found in reply.value["refusals"].items()
                for name, one in found.items()
            ]
        )


def _tell(reply: Reply) -> None:
    """Print one table, systems by sets. + and - mark gains and losses against the base that are sure at 95 %."""
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
        reply.say("This was interrupted. The sets above are complete. Run it again to continue.")


def _between(one: dict[str, float]) -> str:
    return f"{one['low']:.3f} to {one['high']:.3f}"
