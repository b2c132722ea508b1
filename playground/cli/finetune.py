"""`finetune`: teach a router from the labels in force. Makes a draft; `versions promote` puts it in force."""

from typing import Annotated

import typer

from playground.actions import finetune as actions
from playground.actions.versions import opened_versions
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import OptionFlag, read_settings
from playground.errors import InvalidRequest
from playground.options import read_options


def finetune(
    *,
    router: Annotated[str, typer.Option(help="The router to teach.")] = "linear",
    objective: Annotated[str, typer.Option(help="The objective, such as dpo or bt.")] = actions.DEFAULT_OBJECTIVE,
    beta: Annotated[
        float | None, typer.Option(help="How far labels move the routing: a lower value moves it further.")
    ] = None,
    option: OptionFlag = None,
    note: Annotated[str, typer.Option(help="A note that is stored with the new version.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a router on the labels. Print accuracy before and after, on held-out prompts."""
    with replying(as_json) as reply:
        settings = read_settings()
        options = {**({} if beta is None else {"beta": beta}), **read_options(option or [])}
        with opened_versions(settings) as versions:
            teaching = actions.teaching_without_model(versions, settings)
            result: actions.FineTuned | None = None
            for step in actions.fine_tune(teaching, router, objective=objective, options=options, note=note):
                if isinstance(step, actions.FineTuned):
                    result = step
                else:
                    reply.progress(f"step {step.step} of {step.steps}, loss {step.train_loss:.4f}")
        reply.progress("")
        if result is None:
            raise InvalidRequest("The fine-tune ended without a result.", "Try again.")
        reply.value = actions.as_json_object(result)
        _say(result, reply)


def _say(result: actions.FineTuned, reply: Reply) -> None:
    """Print the result in a few lines."""
    reply.say(f"Draft {result.version} of {result.router}, from {result.parent}")
    for name, metric in result.metrics.items():
        before, after, gain = metric.before, metric.after, metric.gain
        reply.say(
            f"  {name.replace('_', ' '):<17} {before.value:.3f} -> {after.value:.3f}"
            f"  gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], n={after.n}"
        )
    reply.say(f"  {result.moved} of {result.probes} probe prompts now go to another expert")
    for warning in result.warnings:
        reply.say(f"  {warning}")
    reply.say(f"Put it in force with: versions promote {result.version}")
