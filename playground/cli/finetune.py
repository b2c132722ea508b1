"""`finetune`: teach a router from the labels in force. Makes a draft; `versions promote` puts it in force."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from playground.actions import finetune as actions
from playground.actions.finetune_job import FineTuneJob, JobState, end_job, job_state
from playground.actions.finetune_outcome import FineTuned, as_json_object
from playground.actions.teaching import Teaching, teaching_without_model
from playground.actions.versions import opened_versions
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import OptionFlag, read_settings
from playground.errors import InvalidRequest
from playground.options import read_options

if TYPE_CHECKING:
    from playground.serving.versions import Versions

RouterFlag = Annotated[str, typer.Option(help="The router to teach.")]
WORDS = {
    "running": "is being taught",
    "stopped": "was being taught by a program that was killed. Go on with `finetune resume`, or use `finetune cancel`",
    "done": "was taught",
    "failed": "could not be taught",
    "cancelled": "was being taught until somebody cancelled it. Go on with `finetune resume`",
}

finetune = typer.Typer(help="Fine-tune a router on the labels: begin, look, cancel, go on.")


@finetune.callback(invoke_without_command=True)
def begin(
    context: typer.Context,
    *,
    router: RouterFlag = "linear",
    objective: Annotated[str, typer.Option(help="The objective, such as dpo or bt.")] = actions.DEFAULT_OBJECTIVE,
    beta: Annotated[
        float | None, typer.Option(help="How far labels move the routing: a lower value moves it further.")
    ] = None,
    option: OptionFlag = None,
    note: Annotated[str, typer.Option(help="A note that is stored with the new version.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a router on the labels. Print accuracy before and after, on held-out prompts."""
    if context.invoked_subcommand is not None:
        return
    with _teaching(as_json) as (reply, teaching):
        options = {**({} if beta is None else {"beta": beta}), **read_options(option or [])}
        _work(actions.open_job(teaching, router, objective=objective, options=options, note=note), reply)


@finetune.command()
def resume(router: RouterFlag = "linear", as_json: JsonFlag = False) -> None:
    """Go on where the last fine-tune was cancelled or killed, with its objective and options."""
    with _teaching(as_json) as (reply, teaching):
        _work(actions.resumed_job(teaching, router), reply)


@finetune.command()
def status(router: RouterFlag = "linear", as_json: JsonFlag = False) -> None:
    """Show the last fine-tune of a router, whichever program works on it."""
    with _versions(as_json) as (reply, versions):
        _tell(job_state(versions, router), router, reply)


@finetune.command()
def cancel(router: RouterFlag = "linear", as_json: JsonFlag = False) -> None:
    """Cancel the fine-tune of a router, or clear one whose program was killed. The router is free at once."""
    with _versions(as_json) as (reply, versions):
        ended = end_job(versions, router)
        if ended is None:
            raise InvalidRequest(f"The router {router} is not being taught.", "Look with `finetune status`.")
        _tell(ended, router, reply)


@contextmanager
def _versions(as_json: bool) -> Iterator[tuple[Reply, "Versions"]]:
    with replying(as_json) as reply, opened_versions(read_settings()) as versions:
        yield reply, versions


@contextmanager
def _teaching(as_json: bool) -> Iterator[tuple[Reply, Teaching]]:
    with _versions(as_json) as (reply, versions):
        yield reply, teaching_without_model(versions, versions.settings)


def _work(job: FineTuneJob, reply: Reply) -> None:
    """Work on the job here, and print the result."""
    result: FineTuned | None = None
    for step in job.run():
        if isinstance(step, FineTuned):
            result = step
        else:
            reply.progress(f"step {step.step} of {step.steps}, loss {step.train_loss:.4f}")
    reply.progress("")
    if result is None:
        raise InvalidRequest("Somebody cancelled this fine-tune.", "Go on with `finetune resume`.")
    reply.value = as_json_object(result)
    _say(result, reply)


def _tell(found: JobState | None, router: str, reply: Reply) -> None:
    """Print where the last fine-tune stands."""
    reply.value = {"router": router, "job": None if found is None else found.as_dict()}
    if found is None:
        reply.say(f"The router {router} was never taught here.")
        return
    newest = found.info.curve[-1] if found.info.curve else None
    where = f", step {newest['step']} of {newest['steps']}" if newest else ""
    ended = f": {found.info.ended}" if found.state == "failed" else ""
    reply.say(f"{router} {WORDS[found.state]}{where}{ended}.")
    if found.info.version:
        reply.say(f"It made the version {found.info.version}.")


def _say(result: FineTuned, reply: Reply) -> None:
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
