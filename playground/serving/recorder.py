"""Build the events of one run, in order, and keep them. The engine reports what happened."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from playground.core.events import (
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
)
from playground.core.values import Decision
from playground.errors import PlaygroundError
from playground.model.base import LanguageModel
from playground.model.texts import TextStream, prompt_texts
from playground.model.worker import TokenMade
from playground.serving.run import Run

E = TypeVar("E", bound=Event)
NO_TIMINGS: Mapping[str, float] = {"encode_s": 0.0, "decide_s": 0.0, "first_token_s": 0.0}


class Recorder:
    """Hold the events of `run` so far. The clock starts when the recorder is made."""

    def __init__(self, run: Run, base: LanguageModel) -> None:
        self.run = run
        self.base = base
        self.events: list[Event] = []
        self._made = 0
        self._said = TextStream(base.tokenizer)  # what the answer says so far, so that alternatives follow it
        self._began = time.monotonic()

    def take(self, event: E) -> E:
        """Keep `event` as the next one of the run, with its id, number and time filled in."""
        stamped = replace(event, run_id=self.run.run_id, seq=len(self.events), at=self._seconds())
        self.events.append(stamped)
        self._made += isinstance(stamped, TokenGenerated)
        return stamped

    def started(self) -> RunStarted:
        """Record the first event."""
        run, observe = self.run, self.run.request.observe
        return self.take(
            RunStarted(
                prompt=run.request.prompt,
                router=run.router.spec.name,
                version=run.version,
                level=run.router.spec.level,
                pool=run.pool.names,
                seed=run.request.sampling.seed,
                layers=self.base.layers,
                heads=self.base.heads,
                observed_layer=observe.layer if observe else -1,
                observed_head=observe.head if observe else -1,
                held=run.held,
                held_layers=run.request.override_layers,
                options=tuple(sorted(run.request.options.items())),
            )
        )

    def decided(self, decision: Decision) -> Decided:
        """Record the decision, with the propensity and the scheme that the run serves it by."""
        run = self.run
        return self.take(
            Decided(
                weights=decision.weights,
                propensity=decision.weights if run.propensity is None else run.propensity,
                scheme=run.scheme,
                evidence=decision.evidence,
                uncertainty=decision.uncertainty,
                shadow=run.shadow,
                shadow_weights=run.shadow_weights,
            )
        )

    def prompt_read(self) -> PromptRead:
        """Record the prompt's tokens, with a gate's weights on them."""
        run = self.run
        layered = None if run.prompt_weights is None else run.prompt_weights.astype(np.float16)
        texts, own = prompt_texts(self.base.tokenizer, run.ids, run.request.prompt, self.base.frame)
        return self.take(PromptRead(tokens=tuple(texts), layer_weights=layered, own=own))

    def token(self, message: TokenMade) -> TokenGenerated:
        """Record one token of the answer."""
        run, step = self.run, message.step
        run.timings.setdefault("first_token_s", self._seconds())
        layered = None if step.layer_weights is None else run.over_pool(step.layer_weights).astype(np.float16)
        likely = [self._said.peek(token) for token in step.drawn.top_ids]
        self._said.push(step.drawn.token_id)
        return self.take(
            TokenGenerated(
                index=self._made,
                text=message.text,
                token_id=step.drawn.token_id,
                weights=self._weights(step.weights),
                layer_weights=layered,
                attention=None if step.attention is None else step.attention.astype(np.float16),
                logprob=step.drawn.logprob,
                entropy=step.drawn.entropy,
                alternatives=tuple(zip(likely, map(float, step.drawn.top_probabilities), strict=True)),
            )
        )

    def piece(self, event: TokenGenerated) -> TokenGenerated:
        """Record a piece of text that the expert `run.written_by`, outside the model, has sent."""
        self.run.timings.setdefault("first_token_s", self._seconds())
        return self.take(replace(event, index=self._made, weights=self._weights(np.zeros(0))))

    def finished(self, reason: str) -> Finished:
        """Record the end of a run that went well. `reason` is 'stop' or 'length'."""
        run = self.run
        run.is_over = True
        run.timings["total_s"] = self._seconds()
        tokens = self._tokens()
        decided = np.zeros(len(run.pool)) if run.decision is None else run.decision.weights
        usage = np.mean([event.weights for event in tokens], axis=0) if tokens else decided
        return self.take(
            Finished(
                text="".join(event.text for event in tokens).strip(),
                usage=usage.astype(np.float32),
                tokens=len(tokens),
                prompt_tokens=run.prompt_tokens,
                timings={**NO_TIMINGS, **run.timings},
                reason=reason,
            )
        )

    def failed(self, stage: str, error: Exception) -> Failed:
        """Record the end of a run that failed. Only the words of a PlaygroundError are shown."""
        self.run.is_over = True
        words: dict[str, Any] = {
            "message": "The run stopped because of an error in the playground.",
            "remedy": f"Try again. The log has the details under id {self.run.run_id}.",
        }
        if isinstance(error, PlaygroundError):
            words = {"message": error.message, "remedy": error.remedy}
        return self.take(Failed(stage=stage, text="".join(event.text for event in self._tokens()), **words))

    def _tokens(self) -> list[TokenGenerated]:
        return [event for event in self.events if isinstance(event, TokenGenerated)]

    def _weights(self, weights: np.ndarray) -> np.ndarray:
        """Return a token's weights (E,): all on the expert whose words are written, else those of the model's pass."""
        run = self.run
        if run.written_by is not None:
            return (np.arange(len(run.pool)) == run.written_by).astype(np.float32)
        return run.over_pool(weights).astype(np.float32)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
