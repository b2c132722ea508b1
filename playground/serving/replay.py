"""Read a stored run through the model again: its attention, and how likely its routing finds another answer.

Shapes: L layers, H heads, T tokens of prompt and answer, E experts of the pool, K tokens of an answer.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any

import numpy as np
import torch

from playground.core.events import Decided, Event, RunStarted, TokenGenerated, ToolCalled
from playground.core.route_measures import AttentionMap, AttentionOverview, Likelihoods, rolled, shrunk
from playground.core.values import RunRequest
from playground.errors import InvalidRequest, NotReady
from playground.experts.base import OUTSIDE
from playground.model.reading import new_state, piece_of, read
from playground.model.routing import Routing, RowRouting
from playground.model.texts import TextStream, prompt_texts
from playground.serving.engine import Engine
from playground.serving.run import Run

THUMBNAIL = 40  # tokens across in the picture of one head among all
MAP_SIDE = 512  # cells across in the map of one layer: a longer run has a cell for several tokens
OVERVIEW_SIDE = 256  # the same, of all layers together
Attended = Callable[[int, int, torch.Tensor], None]  # (first token that asks, layer, attention (1, H, Q, S))


class Replay:
    """Read stored runs again with the parts of `engine`. Nothing is kept."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base = engine.base

    def attention(self, events: Sequence[Event], layer: int) -> tuple[np.ndarray, list[str]]:
        """Return the attention (H, M, M) float16 of `layer` over a finished run, and its M texts.

        M is the number of tokens up to MAP_SIDE. A longer run has a cell for each block of tokens.
        Raise InvalidRequest for a layer without attention, NotReady when too much waits for the model.
        """
        if not 0 <= layer < self.base.layers or not self.base.heads:
            raise InvalidRequest(f"There is no layer {layer + 1}.", f"Choose one from 1 to {self.base.layers}.")
        run, routing = self.reopen(events)
        found = AttentionMap(len(run.ids), MAP_SIDE)
        seen: list[int] = []

        def take(start: int, at: int, attention: torch.Tensor) -> None:
            seen.append(at)
            found.add(start, attention[0].float().cpu().numpy())

        self.engine.decoder.read(self._attention(run, routing, take, {layer}))
        if not seen:
            raise InvalidRequest(f"Layer {layer + 1} of this model has no attention.", "Choose another layer.")
        return found.result().astype(np.float16), found.texts(self._texts(run))

    def overview(self, events: Sequence[Event], on_layer: Callable[[int, int], None]) -> AttentionOverview:
        """Return all heads of all layers, from one reading of the run, and their rollout.

        `on_layer` gets (layers done, layers) as it goes on and may raise to end it. Raise InvalidRequest without
        attention, NotReady when too much waits for the model.
        """
        if not self.base.heads:
            raise InvalidRequest("This model has no attention that can be seen.", "Choose another base model.")
        run, routing = self.reopen(events)
        layers, tokens = self.base.layers, len(run.ids)
        found: dict[int, AttentionMap] = {}

        def take(start: int, at: int, attention: torch.Tensor) -> None:
            found.setdefault(at, AttentionMap(tokens, OVERVIEW_SIDE)).add(start, attention[0].float().cpu().numpy())
            asked = attention.shape[2]
            on_layer((layers * start + (at + 1) * asked) // tokens, layers)

        self.engine.decoder.read(self._attention(run, routing, take))
        small, joint = [], None
        for at in sorted(found):
            heads = found[at].result()
            joint = rolled(joint, heads)
            small.append(shrunk(heads, THUMBNAIL))
        if joint is None:
            raise InvalidRequest("The attention of this model cannot be read.", "Choose another base model.")
        return AttentionOverview(np.stack(small), joint, found[min(found)].texts(self._texts(run)))

    def _attention(
        self, run: Run, routing: RowRouting, take: Attended, layers: Collection[int] | None = None
    ) -> Generator[int]:
        """Read a run again, a piece at a time. Give `take` the attention of `layers` (None is all) in each piece."""

        def make(start: int) -> Routing:
            def attended(layer: int, first: int, attention: torch.Tensor) -> None:
                take(start + first, layer, attention)

            return Routing([routing], len(self.engine.bank), on_attention=attended, layers_read=layers)

        return self._reading(run, routing, run.ids, make=make)

    def likelihoods(self, first: Sequence[Event], second: Sequence[Event]) -> Likelihoods:
        """Return how likely each routing finds each answer: one reading each, at temperature 1 and without penalties.

        Raise InvalidRequest when an answer is empty, or was not written by the model.
        """
        pairs = [(routed, spoken) for routed in (first, second) for spoken in (first, second)]
        by_first_first, by_first_second, by_second_first, by_second_second = (
            self._likelihood(routed, spoken) for routed, spoken in pairs
        )
        return Likelihoods(by_first_first, by_second_first, by_first_second, by_second_second)

    def _likelihood(self, routed: Sequence[Event], spoken: Sequence[Event]) -> float | None:
        """Return the mean log-probability per token of the answer `spoken` under the routing of the run `routed`."""
        if any(isinstance(event, ToolCalled) and event.ok for event in routed):
            return None
        answer = _written(spoken)
        if not answer:
            raise InvalidRequest("One of the answers is empty.", "Let both runs write at least one word.")
        run, routing = self.reopen(routed)
        ids = [*run.ids[: run.prompt_tokens], *answer]

        found: list[torch.Tensor] = []
        first = run.prompt_tokens - 1  # the position whose scores are for the answer's first token

        def wanted(start: int, end: int) -> int:
            return max(1, end - max(start, first))

        def make(_start: int) -> Routing:
            return Routing([routing], len(self.engine.bank))

        def take(start: int, _routing: Routing, output: Any) -> None:
            end = min(start + piece, len(ids))
            if end > first:
                found.append(torch.log_softmax(output.logits[0, -wanted(start, end) :].float(), dim=-1))

        piece = piece_of(self.base, routing, len(ids))
        self.engine.decoder.read(self._reading(run, routing, ids, make=make, take=take, logits=wanted))
        logprobs = torch.cat(found)[:-1]
        return float(logprobs.gather(1, torch.tensor(answer, device=logprobs.device).unsqueeze(1)).mean())

    def reopen(self, events: Sequence[Event]) -> tuple[Run, RowRouting]:
        """Return a stored run and its routing as if it began anew. Raise InvalidRequest when its parts are gone."""
        started = next((event for event in events if isinstance(event, RunStarted)), None)
        if started is None:
            raise InvalidRequest("The first event of this run is missing.", "Choose another run.")
        request = RunRequest(
            prompt=started.prompt,
            router=started.router,
            version=started.version,
            pool=started.pool,
            override=started.held or None,
            override_layers=started.held_layers,
            options=dict(started.options),
        )
        engine = self.engine
        router, version = engine.resolve(request)
        is_overridden = any(isinstance(event, Decided) and event.scheme == "override" for event in events)
        with engine.experts_lock:
            gate = None if is_overridden else engine.mixtures.gate_of(router, engine.pool)
            run = Run(request, router, version, engine.pool.select(started.pool), engine.bank.names, gate)
            run.ids = self.base.chat_ids(run.request.prompt)
            run.prompt_tokens = len(run.ids)
            run.ids += _written(events)
            if gate is not None:
                return run, engine.mixtures.gated(run)
            return run, engine.mixtures.constant(run, self._constant_weights(run, events))

    def _constant_weights(self, run: Run, events: Sequence[Event]) -> np.ndarray:
        """Return the constant weights (E,) of the stored run's first token, without the shares of tools."""
        for event in events:
            if isinstance(event, TokenGenerated):
                return np.where(run.pool.mixable, self._free_weights(run, event), 0.0)
        return np.zeros(len(run.pool))

    def _free_weights(self, run: Run, token: TokenGenerated) -> np.ndarray:
        """Return the weights (E,) of a token in the layers where nothing was set by hand."""
        free = [layer for layer in range(self.base.layers) if layer not in run.request.override_layers]
        if token.layer_weights is None or not free:
            return token.weights
        return token.layer_weights[free[0]].astype(np.float32)

    @torch.inference_mode()
    def _reading(
        self, run: Run, routing: RowRouting, ids: Sequence[int], *, make: Callable[[int], Routing], **arguments: Any
    ) -> Generator[int]:
        """Read `ids` under `routing`, a piece at a time, as `model/reading.py` does. For the model's thread.

        Raise NotReady when an expert of the run was removed.
        """

        def checked(start: int) -> Routing:
            if not self.engine.decoder.knows(run.bank_experts):
                raise NotReady("An expert was removed just now.", "Try again.")
            return make(start)

        arguments.setdefault("take", lambda *_: None)
        yield from read(new_state(self.base), routing, self.engine.bank, ids, make=checked, **arguments)

    def _texts(self, run: Run) -> list[str]:
        """Return the texts of prompt and answer as the run's events have them; the end has its name."""
        tokenizer, count = self.base.tokenizer, run.prompt_tokens
        asked, _ = prompt_texts(tokenizer, run.ids[:count], run.request.prompt, self.base.frame)
        said = TextStream(tokenizer, specials=True)
        return asked + [said.push(token) for token in run.ids[count:]]


def _written(events: Sequence[Event]) -> list[int]:
    """Return the token ids of an answer. Raise InvalidRequest when an expert outside the model wrote it."""
    ids = [event.token_id for event in events if isinstance(event, TokenGenerated)]
    if OUTSIDE in ids:
        raise InvalidRequest("The model did not write this answer, so it cannot read it.", "Choose another run.")
    return ids
