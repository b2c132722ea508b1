"""`finetune`: teach a router from the labels that stand. Makes a draft; `versions promote` puts it in force."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import read_settings
from playground.cli.versions import opened
from playground.errors import InvalidRequest
from playground.experts.catalogue import load_catalogue

if TYPE_CHECKING:
    from playground.learn.labels.trainer import FineTuned


def finetune(
    *,
    router: Annotated[str, typer.Option(help="The router to teach.")] = "linear",
    objective: Annotated[str, typer.Option(help="What is optimised: dpo or bt.")] = "dpo",
    beta: Annotated[
        float | None, typer.Option(help="How boldly to act on labels: lower moves routing further.")
    ] = None,
    note: Annotated[str, typer.Option(help="A note that stays with the new version.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a router on the labels; prints accuracy before and after on prompts that were held out."""
    with replying(as_json) as reply, opened() as versions:
        # torch and the encoder's libraries: only when there is something to learn
        from playground.encode.encoder import Encoder  # noqa: PLC0415
        from playground.learn.labels.preparation import prepare  # noqa: PLC0415
        from playground.learn.labels.trainer import FineTuned, fine_tune  # noqa: PLC0415

        settings = read_settings()
        versions.current(router)  # an unknown router is said before anything is loaded
        encoder = Encoder(settings)
        name = f"{encoder.name}@{encoder.revision}"
        ready = prepare(versions, encoder, load_catalogue(settings.experts_dir, settings.added_dir), encoder_name=name)
        options = {} if beta is None else {"beta": beta}
        result: FineTuned | None = None
        for step in fine_tune(
            ready.parts, ready.labels, ready.probes, router=router, objective=objective, options=options, note=note
        ):
            if isinstance(step, FineTuned):
                result = step
            else:
                reply.progress(f"step {step.step} of {step.steps}, loss {step.train_loss:.4f}")
        reply.progress("")
        if result is None:
            raise InvalidRequest("The fine-tune ended without a result.", "Try again.")
        reply.value = as_json_object(result)
        say(result, reply)


def as_json_object(result: "FineTuned") -> dict[str, Any]:
    """The object that `finetune --json` prints."""
    return {
        "version": result.version,
        "parent": result.parent,
        "router": result.router,
        "metrics": {name: metric.as_dict() for name, metric in result.metrics.items()},
        "kl": result.kl,
        "beta": result.beta,
        "moved": result.moved,
        "probes": result.probes,
        "labels": result.counts,
        "warnings": result.warnings,
        "changed": [
            {
                "prompt": change.prompt,
                "moved": change.moved,
                "before": dict(zip(change.experts, map(float, change.before), strict=True)),
                "after": dict(zip(change.experts, map(float, change.after), strict=True)),
            }
            for change in result.changed
        ],
    }


def say(result: "FineTuned", reply: Reply) -> None:
    """The result in a few lines."""
    reply.say(f"Draft {result.version} of {result.router}, from {result.parent}")
    for name, metric in result.metrics.items():
        before, after, gain = metric.before, metric.after, metric.gain
        reply.say(
            f"  {name.replace('_', ' '):<17} {before.value:.3f} -> {after.value:.3f}"
            f"  gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], n={after.n}"
        )
    reply.say(f"  {result.moved} of {result.probes} probe prompts have another heaviest expert")
    for warning in result.warnings:
        reply.say(f"  {warning}")
    reply.say(f"Put it in force with: versions promote {result.version}")
