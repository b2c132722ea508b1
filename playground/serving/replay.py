"""Read a stored run through the model again: its attention, and how likely its routing finds another answer.

Shapes: L layers, H heads, T tokens of prompt and answer, E experts of the pool, K tokens of an answer.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from playground.core.events import Decided, Event, RunStarted, TokenGenerated, ToolCalled
from playground.core.route_measures import AttentionOverview, Likelihoods, rolled, shrunk
from playground.core.values import RunRequest
from playground.errors import InvalidRequest, NotReady
from playground.experts.base import OUTSIDE
from playground.model.routing import Routing, RowRouting, forward
from playground.model.texts import TextStream, prompt_texts
from playground.serving.engine import Engine
from playground.serving.run import Run

THUMBNAIL = 40  # tokens across in the picture of one head among all


class Replay:
    """Read stored runs again with the parts of `engine`. Nothing is kept."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base = engine.base

    def attention(self, events: Sequence[Event], layer: int) -> tuple[np.ndarray, list[str]]:
        """Return the attention (H, T, T) float16 of `layer` over a finished run, and the T token texts.

        It takes one forward pass in the model's thread. Raise InvalidRequest for a layer that is not there.
        """
        if not 0 <= layer < self.base.layers or not self.base.heads:
            raise InvalidRequest(f"There is no layer {layer + 1}.", f"Choose one from 1 to {self.base.layers}.")
        run, routing = self.reopen(events)

        def read() -> np.ndarray:
            call = Routing([routing], len(self.engine.bank), whole_layer=layer)
            self._read(run, call, run.ids, logits_to_keep=1)
            return np.asarray(call.attention[layer][0].to(torch.float16).cpu().numpy())

        return self.engine.decoder.call(read), self._texts(run)

    def overview(self, events: Sequence[Event], on_layer: Callable[[int, int], None]) -> AttentionOverview:
        """Return all heads of all layers, from one pass in the model's thread, and their rollout.

        `on_layer` gets (layers done, layers) after each and may raise to end it. Raise InvalidRequest without
        attention.
        """
        if not self.base.heads:
            raise InvalidRequest("This model has no attention heads.", "Choose another base model.")
        run, routing = self.reopen(events)
        small: list[np.ndarray] = []
        joint: np.ndarray | None = None

        def take(layer: int, attention: torch.Tensor) -> None:
            nonlocal joint
            heads = attention[0].float().cpu().numpy()
            joint = rolled(joint, heads)
            small.append(shrunk(heads, THUMBNAIL))
            on_layer(len(small), self.base.layers)

        def read() -> None:
            call = Routing([routing], len(self.engine.bank), each_layer=take)
            self._read(run, call, run.ids, logits_to_keep=1)

        self.engine.decoder.call(read)
        if joint is None:
            raise InvalidRequest("The attention of this model cannot be read.", "Choose another base model.")
        return AttentionOverview(np.stack(small), joint, self._texts(run))

    def likelihoods(self, first: Sequence[Event], second: Sequence[Event]) -> Likelihoods:
        """Return how likely each routing finds each answer: one pass each, at temperature 1 and without penalties.

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

        def read() -> float:
            call = Routing([routing], len(self.engine.bank))
            logits = self._read(run, call, ids, logits_to_keep=len(answer) + 1)
            logprobs = torch.log_softmax(logits[:-1].float(), dim=-1)
            return float(logprobs.gather(1, torch.tensor(answer, device=logits.device).unsqueeze(1)).mean())

        return self.engine.decoder.call(read)

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

    def _read(self, run: Run, call: Routing, ids: Sequence[int], *, logits_to_keep: int) -> torch.Tensor:
        """Return logits (K, V) of one pass over `ids` under `call`. Call it in the model's thread only.

        Raise NotReady when an expert of the run was removed.
        """
        if not self.engine.decoder.knows(run.bank_experts):
            raise NotReady("An expert was removed just now.", "Try again.")
        read = torch.tensor([list(ids)], device=self.base.model.device)
        with torch.inference_mode():
            output = forward(self.base.model, call, read, use_cache=False, logits_to_keep=logits_to_keep)
        return output.logits[0]

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
