"""One run under way: what is known of it so far, and the events that say so. Lives as long as its generator."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from ulid import ULID

from playground.core.events import (
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
    ToolCalled,
)
from playground.core.values import Decision, Evidence, Pool, RunRequest, Scores, Text, normalised
from playground.errors import InvalidRequest, PlaygroundError
from playground.experts.base import ToolResult
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Row, Seen
from playground.model.override import hold_layers
from playground.model.routing import RowRouting
from playground.model.sampling import Sampler
from playground.model.worker import Job, Message, TextStream, TokenMade
from playground.routers.base import Gate, Router

E = TypeVar("E", bound=Event)


class Run:
    """The state of one run. `pool_columns` (E,) is each pool expert's place in the bank, -1 for one that is not
    there."""

    def __init__(
        self,
        request: RunRequest,
        base: LanguageModel,
        bank: Bank,
        *,
        pool: Pool,
        router: Router,
        version: str,
        gate: Gate | None,
    ) -> None:
        self.request = request
        self.base = base
        self.bank = bank
        self.pool = pool
        self.router = router
        self.version = version
        self.gate = gate if request.override is None or request.override_layers else None
        self.run_id = str(ULID())
        self.timings: dict[str, float] = {}
        self.ids: list[int] = []
        self.prompt_tokens = 0
        self.is_over = False
        self._made = 0
        self.events: list[Event] = []
        self._began = time.monotonic()
        self._routing: RowRouting | None = None
        self._written_by: int | None = None
        self._forced: list[int] = []
        self._decision: Decision | None = None
        self._prompt_weights: np.ndarray | None = None
        self.bank_experts = bank.names
        place = {name: i for i, name in enumerate(self.bank_experts)}
        self.pool_columns = np.array([place.get(e.name, -1) if e.is_mixable else -1 for e in pool.experts])

    def _event(self, kind: type[E], **fields: Any) -> E:
        event = kind(run_id=self.run_id, seq=len(self.events), at=time.monotonic() - self._began, **fields)
        self.events.append(event)
        return event

    # --- what was asked -------------------------------------------------------------------------------------

    def started(self) -> RunStarted:
        """The first event."""
        observe = self.request.observe
        return self._event(
            RunStarted,
            prompt=self.request.prompt,
            router=self.router.spec.name,
            version=self.version,
            level=self.router.spec.level,
            pool=self.pool.names,
            seed=self.request.sampling.seed,
            layers=self.base.layers,
            heads=self.base.heads,
            observed_layer=observe.layer if observe else -1,
            observed_head=observe.head if observe else -1,
            held=self._held_weights(),
            held_layers=self.request.override_layers,
        )

    def _held_weights(self) -> tuple[float, ...]:
        """Weights over the pool that hold in some layers; empty when none do."""
        if not self.request.override_layers or self.request.override is None:
            return ()
        return tuple(float(weight) for weight in normalised(self.request.override))

    def read_prompt(self) -> None:
        """Tokenise. Raises InvalidRequest for a prompt that is too long for the model."""
        self.ids = self.base.chat_ids(self.request.prompt)
        self.prompt_tokens = len(self.ids)

    # --- what was decided -----------------------------------------------------------------------------------

    @property
    def is_decided(self) -> bool:
        """Whether the decision has been told."""
        return self._decision is not None

    def decided(self, decision: Decision) -> Decided:
        """The router's decision as an event."""
        self._decision = decision
        return self._event(
            Decided,
            weights=decision.weights,
            propensity=decision.propensity,
            scheme=decision.scheme,
            evidence=decision.evidence,
            uncertainty=decision.uncertainty,
        )

    def decision_weights(self) -> np.ndarray:
        """(E,) as the router decided."""
        if self._decision is None:
            raise RuntimeError("nothing was decided yet")
        return self._decision.weights

    def serving_weights(self) -> np.ndarray:
        """(E,) that answer: the decision's propensity, or one expert drawn from it when sampling."""
        if self._decision is None:
            raise RuntimeError("nothing was decided yet")
        propensity = self._decision.propensity.astype(np.float64)
        if self._decision.scheme != "sample":
            return propensity
        drawn = np.random.default_rng(self.request.sampling.seed).choice(
            len(propensity), p=propensity / propensity.sum()
        )
        return np.asarray(np.arange(len(propensity)) == drawn, np.float64)

    def gate_decision(self) -> Decision:
        """How the gate weighed the prompt: its mean over the prompt's tokens and all layers."""
        if self._prompt_weights is None:
            raise RuntimeError("the gate has not seen the prompt yet")
        weights = self._prompt_weights.mean(axis=(0, 1), dtype=np.float64)
        weights = (weights / weights.sum()).astype(np.float32)
        end = self._prompt_weights[-1].mean(axis=0, dtype=np.float64)
        end /= end.sum()
        top, then = int(weights.argmax()), int(end.argmax())
        sentence = (
            f"The gate decides anew for each token and layer; over the prompt it gives most to "
            f"{self.pool.experts[top].title} ({weights[top]:.0%})"
        )
        # A gate may act on the end of the prompt alone, or turn there: the last token is where the answer comes from.
        if then != top:
            sentence += f", at its last token to {self.pool.experts[then].title} ({end[then]:.0%})"
        sentence += "."
        return Decision(weights=weights, propensity=weights, scheme="mixture", evidence=self._gate_evidence(sentence))

    def _gate_evidence(self, sentence: str) -> Evidence:
        """`sentence`, with what the prompt as a whole adds to each token's scores where the gate hears it."""
        state = None if self._routing is None else self._routing.run
        if state is None or state.prior is None or self.gate is None:
            return Text(sentence)
        known = {name: float(score) for name, score in zip(self.gate.experts, state.prior, strict=True)}
        shared = tuple(sorted((name for name in self.pool.names if name in known), key=lambda name: -known[name]))
        return Scores(
            f"{sentence} To the scores of every token it adds what the prompt as a whole speaks for:",
            tuple(round(known[name], 4) for name in shared),
            experts=shared,
        )

    def tool_called(self, name: str, result: ToolResult) -> ToolCalled:
        """What a tool made of the prompt; `result` holds the reason when it refused."""
        return self._event(
            ToolCalled,
            expert=name,
            query=result.query,
            result=result.result if result.ok else result.sentence,
            ok=result.ok,
            seconds=result.seconds,
        )

    # --- how it is decoded ----------------------------------------------------------------------------------

    def route(self, routing: RowRouting, *, written_by: int | None = None) -> None:
        """Decode under `routing`; `written_by` is the pool position of a tool whose words are being written."""
        self._routing = self.held(routing)
        self._written_by = written_by

    def held(self, routing: RowRouting) -> RowRouting:
        """`routing` with the weights that were set by hand in their layers, if some were."""
        weights = self._held_weights()
        if not weights:
            return routing
        spread = torch.zeros(len(self.bank_experts), device=self.base.model.device)
        for column, weight in zip(self.pool_columns, weights, strict=True):
            if column >= 0:
                spread[int(column)] = weight
        return hold_layers(routing, spread, self.request.override_layers, self.bank_experts)

    def write(self, text: str) -> None:
        """Write `text` token by token as the answer, and stop after it."""
        self._forced = [*self.base.answer_ids(text), self.base.tokenizer.eos_token_id]

    def job(self, out: "queue.SimpleQueue[Message]", cancelled: threading.Event) -> Job:
        """The run as a job for the decoder."""
        if self._routing is None:
            raise RuntimeError("the run has no routing yet")
        sampling = self.request.sampling
        row = Row(
            ids=list(self.ids),
            routing=self._routing,
            sampler=Sampler(sampling, int(self.base.model.config.vocab_size)),
            observe=self.request.observe,
            forced=deque(self._forced),
        )
        room = self.base.max_tokens - len(self.ids)
        limit = len(self._forced) or min(sampling.max_new_tokens, room)
        stream = TextStream(self.base.tokenizer)
        return Job(self.run_id, row, limit, self.base.end_ids, sampling.stop, stream, out, cancelled, self.bank_experts)

    # --- what came of it ------------------------------------------------------------------------------------

    def _over_pool(self, weights: np.ndarray) -> np.ndarray:
        """Bank weights (..., N) as pool weights (..., E)."""
        padded = np.concatenate([weights, np.zeros((*weights.shape[:-1], 1), weights.dtype)], axis=-1)
        return np.asarray(padded[..., self.pool_columns])

    def _token_weights(self, weights: np.ndarray) -> np.ndarray:
        if self._written_by is not None:
            return (np.arange(len(self.pool)) == self._written_by).astype(np.float32)
        return self._over_pool(weights).astype(np.float32)

    def prompt_read(self, seen: Seen) -> PromptRead:
        """The prompt's tokens, with a gate's weights on them."""
        layered = None
        if seen.layer_weights is not None:
            self._prompt_weights = self._over_pool(seen.layer_weights)
            layered = self._prompt_weights.astype(np.float16)
        tokens = tuple(self.base.tokenizer.decode([token]) for token in self.ids)
        before, after = self.base.frame
        return self._event(PromptRead, tokens=tokens, layer_weights=layered, own=(before, len(tokens) - after))

    def token(self, message: TokenMade) -> TokenGenerated:
        """One token of the answer."""
        step = message.step
        self.timings.setdefault("first_token_s", time.monotonic() - self._began)
        layered = None if step.layer_weights is None else self._over_pool(step.layer_weights).astype(np.float16)
        pairs = zip(step.drawn.top_ids, step.drawn.top_probabilities, strict=True)
        self._made += 1
        return self._event(
            TokenGenerated,
            index=self._made - 1,
            text=message.text,
            token_id=step.drawn.token_id,
            weights=self._token_weights(step.weights),
            layer_weights=layered,
            attention=None if step.attention is None else step.attention.astype(np.float16),
            logprob=step.drawn.logprob,
            entropy=step.drawn.entropy,
            alternatives=tuple((self.base.tokenizer.decode([i]), float(p)) for i, p in pairs),
        )

    def finished(self, reason: str) -> Finished:
        """The last event of a run that went well or was cancelled."""
        self.is_over = True
        self.timings["total_s"] = time.monotonic() - self._began
        tokens = [event for event in self.events if isinstance(event, TokenGenerated)]
        usage = np.mean([event.weights for event in tokens], axis=0) if tokens else self.decision_weights()
        return self._event(
            Finished,
            text="".join(event.text for event in tokens).strip(),
            usage=usage.astype(np.float32),
            tokens=len(tokens),
            prompt_tokens=self.prompt_tokens,
            timings={"encode_s": 0.0, "decide_s": 0.0, "first_token_s": 0.0, **self.timings},
            reason=reason,
        )

    def failed(self, stage: str, error: Exception) -> Failed:
        """The last event of a run that broke; only a PlaygroundError's own words are shown."""
        self.is_over = True
        shown = error if isinstance(error, PlaygroundError) else None
        return self._event(
            Failed,
            stage=stage,
            message=shown.message if shown else "The run stopped by an error of the playground.",
            remedy=shown.remedy if shown else f"Try again; the log has the details under id {self.run_id}.",
            text="".join(event.text for event in self.events if isinstance(event, TokenGenerated)),
        )

    # --- once more, from what was stored --------------------------------------------------------------------

    @classmethod
    def replayed(
        cls,
        events: Sequence[Event],
        base: LanguageModel,
        bank: Bank,
        *,
        pool: Pool,
        resolve: Callable[[str, str | None], tuple[Router, str]],
        gate_of: Callable[[Router], Gate | None],
    ) -> "Run":
        """A stored run, ready to be read through the model again. Raises InvalidRequest for one that never started."""
        started = next((event for event in events if isinstance(event, RunStarted)), None)
        if started is None:
            raise InvalidRequest("This run has no beginning.", "Choose another run.")
        router, version = resolve(started.router, started.version)
        overridden = any(isinstance(event, Decided) and event.scheme == "override" for event in events)
        gate = None if overridden else gate_of(router)
        request = RunRequest(
            prompt=started.prompt,
            router=started.router,
            version=version,
            pool=started.pool,
            override=started.held or None,
            override_layers=started.held_layers,
        )
        chosen = pool.select(started.pool)
        run = cls(request, base, bank, pool=chosen, router=router, version=version, gate=gate)
        run.read_prompt()
        run.ids = run.ids + [event.token_id for event in events if isinstance(event, TokenGenerated)]
        return run

    def _unheld(self, token: TokenGenerated) -> np.ndarray:
        """(E,) weights of a token where nothing was set by hand."""
        free = [layer for layer in range(self.base.layers) if layer not in self.request.override_layers]
        if token.layer_weights is None or not free:
            return token.weights
        return token.layer_weights[free[0]].astype(np.float32)

    def replayed_weights(self, events: Sequence[Event]) -> np.ndarray:
        """(E,) constant weights that the stored run's tokens were made with; tools' shares left out."""
        for event in events:
            if isinstance(event, TokenGenerated):
                return np.where(self.pool.mixable, self._unheld(event), 0.0)
        return np.zeros(len(self.pool))
