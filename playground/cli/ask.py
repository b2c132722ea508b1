"""`ask`: one prompt through one router, on the terminal."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import ready_runtime
from playground.core.events import Event, PromptRead, TokenGenerated, events_to_json
from playground.core.fold import ViewState, answer_json, fold
from playground.core.values import Observe, Pool, RunRequest, Sampling, Serve
from playground.errors import InvalidRequest


def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    *,
    router: Annotated[str, typer.Option(help="Name of the router; `routers` lists them.")] = "knn",
    version: Annotated[str | None, typer.Option(help="A router version; the promoted one else.")] = None,
    pool: Annotated[str, typer.Option(help="Experts to choose among, by comma; all ready ones else.")] = "",
    override: Annotated[str, typer.Option(help='Weights instead of the router\'s, as "math=0.7,base=0.3".')] = "",
    serve: Annotated[
        str, typer.Option(help="top: the heaviest expert answers; sample: one is drawn; mix: blended.")
    ] = "top",
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 160,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Same seed, same answer.")] = 0,
    layer: Annotated[int | None, typer.Option(help="Layer whose attention is observed.")] = None,
    head: Annotated[int, typer.Option(help="Head of that layer.")] = 0,
    trace: Annotated[Path | None, typer.Option(help="Also write every event of the run to this file, as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a prompt through a router and show where it went."""
    with replying(as_json) as reply:
        if serve not in ("top", "sample", "mix"):
            raise InvalidRequest(f"--serve is {serve!r}.", "Choose top, sample or mix.")
        way: Serve = serve  # type: ignore[assignment]  # checked on the line above
        sampling = Sampling(temperature=temperature, max_new_tokens=max_tokens, seed=seed)
        with ready_runtime(reply) as runtime:
            chosen = chosen_pool(runtime.pool, pool)
            request = RunRequest(
                prompt=sys.stdin.read() if prompt == "-" else prompt,
                router=router,
                version=version,
                pool=chosen.names if pool or override else None,
                sampling=sampling,
                observe=None if layer is None else Observe(layer, head),
                override=parse_weights(override, chosen) if override else None,
                serve=way,
            )
            state = gather(runtime.run(request, session_id="cli"), reply)
            reply.value = answer_json(state)
            if trace:
                trace.write_text(events_to_json(state.events), encoding="utf-8")
            say_where(reply.value, reply)


def chosen_pool(everything: Pool, names: str) -> Pool:
    """The experts called `names` (by comma), or every ready one. Raises InvalidRequest for an unknown name."""
    if names:
        return everything.select(name.strip() for name in names.split(",") if name.strip())
    return Pool(tuple(expert for expert in everything.experts if expert.ready))


def parse_weights(text: str, pool: Pool) -> tuple[float, ...]:
    """ "math=0.7,base=0.3" as one weight per expert of `pool`, 0 where none is named. Raises InvalidRequest."""
    weights = [0.0] * len(pool)
    for part in text.split(","):
        name, equals, number = part.partition("=")
        try:
            weights[pool.index(name.strip())] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InvalidRequest(f"--override has {part!r}.", 'Write weights as "math=0.7,base=0.3".')
    return tuple(weights)


def gather(events: Iterable[Event], reply: Reply) -> ViewState:
    """Read a run to its end, showing tokens as they come."""
    state = ViewState()
    for event in events:
        state = fold(state, event)
        if isinstance(event, PromptRead):
            reply.progress(f"{len(event.tokens)} tokens read")
        elif isinstance(event, TokenGenerated):
            if event.index == 0:
                reply.progress("")
            reply.say(event.text, end="")
    return state


def say_where(answer: dict[str, Any], reply: Reply) -> None:
    """The routing in a few lines under the answer."""
    reply.say("\n")
    reply.say(f"{answer['router']} chose {answer['expert']} (version {answer['version']})")
    for name, weight in sorted(answer["weights"].items(), key=lambda item: -item[1]):
        reply.say(f"  {name:<12} {weight:6.1%} {'█' * round(weight * 30)}")
    reply.say(answer["explanation"])
    reply.say(f"{answer['tokens']} tokens in {answer['timings']['total_s']:.1f} s")
