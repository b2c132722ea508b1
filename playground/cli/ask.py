"""`ask`: one prompt through one router, on the terminal."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from playground.actions.ask import (
    DEFAULT_ROUTER,
    DEFAULTS,
    answer_json,
    answers,
    checked_prompt,
    read_observe,
    read_sampling,
    read_serve,
    read_weights,
    ready_names,
)
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import OptionFlag, read_settings, ready_runtime
from playground.cli.words import prompt_of
from playground.core.events import PromptRead, TokenGenerated, events_to_json
from playground.core.fold import ViewState
from playground.core.values import SERVES, Pool, RunRequest
from playground.errors import StorageError
from playground.options import read_options


def ask(
    prompt: Annotated[str, typer.Argument(help="The prompt. With -, it is read from standard input.")],
    *,
    router: Annotated[str, typer.Option(help="Name of the router. The command `routers` lists them.")] = DEFAULT_ROUTER,
    version: Annotated[str | None, typer.Option(help="A router version. By default the one in force.")] = None,
    option: OptionFlag = None,
    pool: Annotated[
        str, typer.Option(help="Experts to choose from, comma-separated. By default all that are ready.")
    ] = "",
    override: Annotated[str, typer.Option(help='Weights that replace the router\'s, as "math=0.7,base=0.3".')] = "",
    serve: Annotated[
        str, typer.Option(help="; ".join(f"{name}: {words}" for name, words in SERVES.items()) + ".")
    ] = "top",
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = DEFAULTS.max_new_tokens,
    temperature: Annotated[
        float, typer.Option(help="At 0 the likeliest token is always taken.")
    ] = DEFAULTS.temperature,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = DEFAULTS.seed,
    layer: Annotated[int, typer.Option(help="Layer whose attention is observed, counted from 1. 0 observes none.")] = 0,
    head: Annotated[int, typer.Option(help="Head of that layer, counted from 1.")] = 1,
    trace: Annotated[Path | None, typer.Option(help="Also write every event of the run to this file, as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a prompt through a router and show where it went."""
    with replying(as_json) as reply:
        way = read_serve(serve)
        sampling = read_sampling(temperature=temperature, tokens=max_tokens, seed=seed)
        options = read_options(option or [])
        text, notice = checked_prompt(prompt_of(prompt), read_settings().max_prompt_chars)
        if notice:
            reply.progress(f"Note: {notice}.", ends=True)
        with ready_runtime(reply) as runtime:
            chosen = chosen_pool(runtime.pool, pool)
            request = RunRequest(
                prompt=text,
                router=router,
                version=version,
                pool=chosen.names if pool or override else None,
                sampling=sampling,
                observe=read_observe(layer, head),
                override=read_weights(override, chosen) if override else None,
                serve=way,
                options=options,
            )
            state = gather(answers(runtime, request, session_id="cli"), reply)
            reply.value = answer_json(state, notice)
            if trace:
                write_trace(trace, state)
            say_where(reply.value, reply)


def chosen_pool(everything: Pool, names: str) -> Pool:
    """Return the experts in `names` (comma-separated), or every ready one. Raise InvalidRequest for an unknown name."""
    if names:
        return everything.select(name.strip() for name in names.split(",") if name.strip())
    return everything.select(ready_names(everything))


def gather(states: Iterable[ViewState], reply: Reply) -> ViewState:
    """Read a run to its end and show its tokens as they come."""
    state = ViewState()
    for state in states:
        event = state.events[-1]
        if isinstance(event, PromptRead):
            own = len(event.tokens) - state.template_tokens
            reply.progress(f"{own} tokens read, and {state.template_tokens} of the chat template")
        elif isinstance(event, TokenGenerated):
            if event.index == 0:
                reply.progress("")
            reply.say(event.text, end="")
    return state


def write_trace(path: Path, state: ViewState) -> None:
    """Write every event of a run to a file, as JSON. Raise StorageError."""
    try:
        path.write_text(events_to_json(state.events), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", "Choose another file.") from error


def say_where(answer: dict[str, Any], reply: Reply) -> None:
    """Print the routing in a few lines under the answer."""
    reply.say("\n")
    reply.say(f"{answer['router']} chose {answer['expert']} (version {answer['version']})")
    for name, weight in sorted(answer["weights"].items(), key=lambda item: -item[1]):
        reply.say(f"  {name:<12} {weight:6.1%} {'█' * round(weight * 30)}")
    reply.say(answer["explanation"])
    reply.say(f"{answer['tokens']} tokens in {answer['timings']['total_s']:.1f} s")
