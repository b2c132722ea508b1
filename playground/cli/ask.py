"""`ask`: one prompt through one router, on the terminal."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import ready_runtime
from playground.core.events import (
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
    ToolCalled,
    events_to_json,
)
from playground.core.values import Observe, Pool, RunRequest, Sampling, Serve
from playground.errors import InvalidRequest, PlaygroundError


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
            events: list[Event] = []
            answer = gather(_kept(runtime.run(request, session_id="cli"), events), reply)
            reply.value = answer.as_json()
            if trace:
                trace.write_text(events_to_json(events), encoding="utf-8")
            say_where(answer, reply)


def _kept(events: Iterable[Event], into: list[Event]) -> Iterator[Event]:
    """The events as they come, each also appended to `into`."""
    for event in events:
        into.append(event)
        yield event


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


@dataclass
class Answer:
    """What the events of a run came to."""

    started: RunStarted | None = None
    decided: Decided | None = None
    finished: Finished | None = None
    tools: list[ToolCalled] = field(default_factory=list)
    layers: list[np.ndarray] = field(default_factory=list)

    @property
    def weights(self) -> dict[str, float]:
        """Expert to weight: the router's decision, or for a gate what the answer used."""
        if self.started is None or self.finished is None:
            return {}
        shown = self.finished.usage if self.decided is None else self.decided.weights
        return {name: round(float(weight), 6) for name, weight in zip(self.started.pool, shown, strict=True)}

    @property
    def expert(self) -> str:
        """The expert with the largest part in the answer."""
        if self.started is None or self.finished is None:
            return ""
        return self.started.pool[int(np.argmax(self.finished.usage))]

    def as_json(self) -> dict[str, Any]:
        """The object that `ask --json` prints."""
        if self.started is None or self.finished is None:
            raise InvalidRequest("The run ended without an answer.", "Try again; if it stays so, this is a bug.")
        names = self.started.pool
        shape = (len(self.layers), *self.layers[0].shape) if self.layers else None
        return {
            "answer": self.finished.text,
            "router": self.started.router,
            "version": self.started.version,
            "expert": self.expert,
            "weights": self.weights,
            "usage": dict(zip(names, map(float, self.finished.usage), strict=True)),
            "layer_weights_shape": shape,
            "layer_weights": np.stack(self.layers).astype(float).round(4).tolist() if self.layers else None,
            "explanation": self.decided.evidence.sentence if self.decided else "",
            "tools": [{"expert": t.expert, "query": t.query, "result": t.result, "ok": t.ok} for t in self.tools],
            "timings": self.finished.timings,
            "tokens": self.finished.tokens,
            "prompt_tokens": self.finished.prompt_tokens,
            "reason": self.finished.reason,
            "run_id": self.started.run_id,
        }


def gather(events: Iterable[Event], reply: Reply) -> Answer:
    """Read a run to its end, showing tokens as they come. Raises PlaygroundError when it failed."""
    answer = Answer()
    for event in events:
        match event:
            case RunStarted():
                answer.started = event
            case Decided():
                answer.decided = event
            case PromptRead():
                reply.progress(f"{len(event.tokens)} tokens read")
            case ToolCalled():
                answer.tools.append(event)
            case TokenGenerated():
                if event.index == 0:
                    reply.progress("")
                reply.say(event.text, end="")
                if event.layer_weights is not None:
                    answer.layers.append(event.layer_weights)
            case Finished():
                answer.finished = event
            case Failed():
                raise PlaygroundError(event.message, event.remedy)
    return answer


def say_where(answer: Answer, reply: Reply) -> None:
    """The routing in a few lines under the answer."""
    if answer.started is None or answer.finished is None:
        return
    streamed = answer.finished.tokens > 0
    reply.say("" if streamed else answer.finished.text)
    reply.say()
    reply.say(f"{answer.started.router} chose {answer.expert} (version {answer.started.version})")
    for name, weight in sorted(answer.weights.items(), key=lambda item: -item[1]):
        reply.say(f"  {name:<12} {weight:6.1%} {'█' * round(weight * 30)}")
    if answer.decided is not None and answer.decided.evidence.sentence:
        reply.say(answer.decided.evidence.sentence)
    timings = answer.finished.timings
    reply.say(f"{answer.finished.tokens} tokens in {timings.get('total_s', 0.0):.1f} s")
