"""What lies behind the pictures: a finished run read through the model once more, and the adapters beside each other.

Knows events and the engine; nothing of pictures. Shapes: L layers, H heads, T tokens of prompt and answer.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from playground.core.events import Event, TokenGenerated, ToolCalled
from playground.core.route_measures import (
    AttentionOverview,
    Factors,
    Likelihoods,
    Likeness,
    likeness,
    rolled,
    shrunk,
)
from playground.errors import InvalidRequest
from playground.model.adapters import read_adapter
from playground.model.routing import Routing
from playground.serving.engine import Engine

THUMBNAIL = 40  # tokens across in the picture of one head among all


def overview(engine: Engine, events: Sequence[Event], on_layer: Callable[[int, int], None]) -> AttentionOverview:
    """All heads of all layers in one pass in the model's thread, and their rollout.

    `on_layer` gets (layers done, layers) after each and may raise to end it. Raises InvalidRequest without attention.
    """
    if not engine.base.heads:
        raise InvalidRequest("This model has no attention heads.", "Choose another base model.")
    run, routing = engine.reopened(events)
    small: list[np.ndarray] = []
    joint: np.ndarray | None = None

    def take(layer: int, attention: torch.Tensor) -> None:
        nonlocal joint
        heads = attention[0].float().cpu().numpy()
        joint = rolled(joint, heads)
        small.append(shrunk(heads, THUMBNAIL))
        on_layer(len(small), engine.base.layers)

    def read() -> None:
        engine.read_again(run, Routing([routing], len(engine.bank), each_layer=take), run.ids, logits_to_keep=1)

    engine.decoder.call(read)
    if joint is None:
        raise InvalidRequest("The attention of this model cannot be seen.", "Choose another base model.")
    return AttentionOverview(np.stack(small), joint, engine.texts(run.ids))


def likelihoods(engine: Engine, first: Sequence[Event], second: Sequence[Event]) -> Likelihoods:
    """How likely each routing finds each answer: one pass each, at temperature 1 and without penalties.

    Raises InvalidRequest when an answer is empty.
    """
    pairs = [(routed, spoken) for routed in (first, second) for spoken in (first, second)]
    by_first_first, by_first_second, by_second_first, by_second_second = (
        _likelihood(engine, routed, spoken) for routed, spoken in pairs
    )
    return Likelihoods(by_first_first, by_second_first, by_first_second, by_second_second)


def _likelihood(engine: Engine, routed: Sequence[Event], spoken: Sequence[Event]) -> float | None:
    """Mean log-probability per token of the answer `spoken` under the routing of the run `routed`."""
    if any(isinstance(event, ToolCalled) and event.ok for event in routed):
        return None
    answer = [event.token_id for event in spoken if isinstance(event, TokenGenerated)]
    if not answer:
        raise InvalidRequest("There is no answer to weigh.", "Let both answers get a word.")
    run, routing = engine.reopened(routed)
    ids = [*run.ids[: run.prompt_tokens], *answer]

    def read() -> float:
        logits = engine.read_again(run, Routing([routing], len(engine.bank)), ids, logits_to_keep=len(answer) + 1)
        logprobs = torch.log_softmax(logits[:-1].float(), dim=-1)
        return float(logprobs.gather(1, torch.tensor(answer, device=logits.device).unsqueeze(1)).mean())

    return engine.decoder.call(read)


def adapters_likeness(engine: Engine, folder: Path) -> Likeness:
    """How alike the pool's adapters are, read from their folders in `folder`. Raises InvalidRequest."""
    found: dict[str, Factors] = {}
    for expert in engine.pool.experts:
        if expert.kind == "lora" and expert.ready:
            adapter = read_adapter(folder / expert.folder, expert.name, engine.base.model)
            found[expert.name] = {path: (a.numpy(), b.numpy()) for path, (a, b) in adapter.matrices.items()}
    return likeness(found)
