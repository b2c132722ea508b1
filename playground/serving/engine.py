"""Runs a prompt: encode, decide, call tools, decode, and tell all of it as events. Here the parts meet, and nowhere
else.

Consumers pull; closing the generator cancels within a token. Nothing of a run is kept on the engine, a router or the
model.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import torch

from playground.core.events import Event
from playground.core.values import Context, Decision, Expert, Pool, RunRequest, Scores, Text, normalised
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest, NotReady, PlaygroundError
from playground.experts.base import Tool
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, forward, gate_routing
from playground.model.subspaces import input_directions
from playground.model.worker import Decoder, JobBroke, Message, PromptSeen
from playground.routers.base import Gate, GateRouter, Installed, Policy, Router
from playground.routers.influence import word_influence
from playground.serving.run import Run

log = logging.getLogger(__name__)
Resolver = Callable[[str, str | None], tuple[Router, str]]


class Engine:
    """Serves runs over `pool`. `resolve(router, version)` gives a router's instance and version id."""

    def __init__(
        self,
        base: LanguageModel,
        bank: Bank,
        *,
        decoder: Decoder,
        encoder: TextEncoder,
        pool: Pool,
        tools: Mapping[str, Tool],
        resolve: Resolver,
    ) -> None:
        self.base = base
        self.bank = bank
        self.decoder = decoder
        self.encoder = encoder
        self.pool = pool
        self.tools = tools
        self.resolve = resolve
        self._gates: WeakKeyDictionary[Router, tuple[tuple[str, ...], Gate]] = WeakKeyDictionary()
        self._experts = threading.RLock()  # held while the bank and the pool change, and while they are read together

    def run(self, request: RunRequest) -> Iterator[Event]:
        """The events of one run, from RunStarted to Finished or Failed."""
        return self.run_together([request])

    def run_together(self, requests: Sequence[RunRequest]) -> Iterator[Event]:
        """The events of several runs decoded in one batch, interleaved, told apart by `run_id`.

        All RunStarted come first, in the order of `requests`. Raises InvalidRequest before the first event for a
        request that names what is not there.
        """
        runs = [self._open(request) for request in requests]
        out: queue.SimpleQueue[Message] = queue.SimpleQueue()
        cancelled = threading.Event()
        try:
            for run in runs:
                yield run.started()
            for run in runs:
                yield from self._prepare(run)
            live = {run.run_id: run for run in runs if not run.is_over}
            try:
                self.decoder.submit([run.job(out, cancelled) for run in live.values()])
            except PlaygroundError as error:
                for run in live.values():
                    yield run.failed("queue", error)
                return
            while live:
                message = out.get()
                run = live[message.key]
                yield from self._told(run, message)
                if run.is_over:
                    del live[message.key]
        finally:
            cancelled.set()

    def _told(self, run: Run, message: Message) -> Iterator[Event]:
        if isinstance(message, JobBroke):
            yield run.failed("decode", message.error)
        elif isinstance(message, PromptSeen):
            yield run.prompt_read(message.seen)
            if run.gate is not None and not run.is_decided:
                yield run.decided(run.gate_decision())
        else:
            yield run.token(message)
            if message.reason:
                yield run.finished(message.reason)

    def _open(self, request: RunRequest) -> Run:
        """A run of `request`, with its router resolved and its pool chosen. Raises InvalidRequest."""
        if not request.prompt.strip():
            raise InvalidRequest("The prompt is empty.", "Type something to send.")
        router, version = self.resolve(request.router, request.version)
        with self._experts:
            return self._opened(request, router, version)

    def _opened(self, request: RunRequest, router: Router, version: str) -> Run:
        usable = Pool(tuple(expert for expert in self.pool.experts if expert.ready))
        pool = usable if request.pool is None else usable.select(request.pool)
        if request.override is not None and len(request.override) != len(pool):
            raise InvalidRequest(
                f"{len(request.override)} weights were given for {len(pool)} experts.", "Give one weight per expert."
            )
        _check_layers(request, pool, self.base.layers)
        observe = request.observe
        if observe and not (0 <= observe.layer < self.base.layers and 0 <= observe.head < self.base.heads):
            raise InvalidRequest(
                f"Layer {observe.layer}, head {observe.head} is not there.",
                f"Choose a layer below {self.base.layers} and a head below {self.base.heads}.",
            )
        gate = self._gate_of(router)
        if gate is not None and not pool.mixable.any():
            raise InvalidRequest("A gate needs experts it can mix.", "Add the base or a LoRA expert to the pool.")
        return Run(request, self.base, self.bank, pool=pool, router=router, version=version, gate=gate)

    def _prepare(self, run: Run) -> Iterator[Event]:
        """Decide and call tools, up to where decoding starts. A failure ends this run only."""
        try:
            run.read_prompt()
            if run.request.override is not None and not run.request.override_layers:
                yield run.decided(_overridden(run))
            elif isinstance(run.router, Policy):
                yield run.decided(self._decide(run, run.router))
            else:
                run.route(self._gate_routing(run))
                return
            yield from self._serve(run)
        except PlaygroundError as error:
            yield run.failed("decide", error)
        except Exception as error:
            log.exception("run broke run=%s", run.run_id)
            yield run.failed("decide", error)

    def _decide(self, run: Run, router: Policy) -> Decision:
        began = time.monotonic()
        [embedding] = self.encoder.encode([run.request.prompt])
        descriptors = describe(self.encoder, run.pool)
        run.timings["encode_s"] = time.monotonic() - began
        began = time.monotonic()
        context = Context(
            prompt=run.request.prompt,
            pool=run.pool,
            embedding=embedding,
            descriptors=descriptors,
            seed=run.request.sampling.seed,
        )
        decision = _served_from(router.decide(context), run.request)
        run.timings["decide_s"] = time.monotonic() - began
        if isinstance(decision.evidence, Scores):
            words = word_influence(router, self.encoder, context)
            decision = replace(decision, evidence=replace(decision.evidence, words=words))
        return decision

    def _serve(self, run: Run) -> Iterator[Event]:
        """Turn the decision into what answers: a tool, one expert, or a mixture."""
        weights = run.serving_weights()
        position = int(weights.argmax())
        expert = run.pool.experts[position]
        if expert.kind == "tool":
            result = self.tools[expert.name].compute(run.request.prompt)
            yield run.tool_called(expert.name, result)
            if result.ok:
                run.route(self._constant_routing(run.pool, np.zeros(len(run.pool))), written_by=position)
                run.write(result.sentence)
                return
        mixable = np.where(run.pool.mixable, weights, 0.0)
        if mixable.sum() <= 0:
            mixable = _next_best(run, expert)
        run.route(self._constant_routing(run.pool, normalised(mixable)))

    def _constant_routing(self, pool: Pool, weights: np.ndarray) -> RowRouting:
        """Constant weights (E,) over the pool as weights (N,) over the bank; all zero is the plain base."""
        spread = torch.zeros(len(self.bank), device=self.base.model.device)
        for expert, weight in zip(pool.experts, weights, strict=True):
            if expert.is_mixable:
                if expert.name not in self.bank.names:
                    raise InvalidRequest(f"{expert.title} was removed just now.", "Send the prompt again.")
                spread[self.bank.names.index(expert.name)] = float(weight)
        if not spread.any():
            spread[0] = 1.0
        return RowRouting(constant=spread)

    def _gate_routing(self, run: Run) -> RowRouting:
        """A new state of the run's gate, over the pool. Raises InvalidRequest when the gate cannot serve that pool."""
        gate = run.gate
        if gate is None:
            raise InvalidRequest("This router makes no decision.", "Choose another router.")
        in_pool = {expert.name for expert in run.pool.experts if expert.is_mixable}
        if not set(gate.experts) & in_pool:
            raise InvalidRequest("This gate knows none of the chosen experts.", "Choose others, or train it for them.")
        missing = set(gate.experts) - set(self.bank.names)
        if missing:
            raise InvalidRequest(
                f"The gate needs the expert {sorted(missing)[0]}.", "Add it, or choose another router."
            )
        embedding = None
        if gate.needs_embedding:
            began = time.monotonic()
            embedding = torch.from_numpy(self.encoder.encode([run.request.prompt])[0])
            run.timings["encode_s"] = time.monotonic() - began
        return gate_routing(
            gate,
            self.bank.names,
            prompt_tokens=run.prompt_tokens,
            embedding=embedding,
            pool=in_pool,
            device=self.base.model.device,
        )

    def change_experts(self, adapters: Sequence[Adapter], pool: Pool) -> None:
        """Make `adapters` what can be mixed and `pool` what runs choose from, at once for every run that begins later.

        Raises NotReady when an expert would leave while a run is under way.
        """
        with self._experts:
            self.decoder.restack(adapters)
            self.pool = pool
            self._gates.clear()  # another adapter may have come under a name that left

    def installed(self) -> Installed:
        """The mixable experts there are now, as gates that take in any expert need them."""
        experts = {expert.name: expert for expert in self.pool.experts}
        cards = Pool(tuple(experts[name] for name in self.bank.names))
        return Installed(
            self.bank.names,
            describe(self.encoder, cards),
            lambda: input_directions(self.bank, self.base.width),
        )

    def _gate_of(self, router: Router) -> Gate | None:
        """The router's gate over the experts there are now; made once for each set of them."""
        if not isinstance(router, GateRouter):
            return None
        kept = self._gates.get(router)
        if kept is None or kept[0] != self.bank.names:
            router.check_model(self.base.layers, self.base.width)
            kept = (self.bank.names, router.gate_for(self.installed()))
            self._gates[router] = kept
        return kept[1]

    def attention(self, events: Sequence[Event], layer: int) -> tuple[np.ndarray, list[str]]:
        """(H, T, T) float16 attention of `layer` over a finished run's prompt and answer, and the T token texts.

        One forward pass in the model's thread. Raises InvalidRequest for a layer that is not there.
        """
        if not 0 <= layer < self.base.layers or not self.base.heads:
            raise InvalidRequest(f"There is no layer {layer}.", f"Choose one below {self.base.layers}.")
        run, routing = self.reopened(events)

        def read() -> np.ndarray:
            call = Routing([routing], len(self.bank), whole_layer=layer)
            self.read_again(run, call, run.ids, logits_to_keep=1)
            return np.asarray(call.attention[layer][0].to(torch.float16).cpu().numpy())

        return self.decoder.call(read), self.texts(run.ids)

    def reopened(self, events: Sequence[Event]) -> tuple[Run, RowRouting]:
        """A stored run, and its routing as if it began anew. Raises InvalidRequest when its parts are gone."""
        with self._experts:
            run = Run.replayed(
                events, self.base, self.bank, pool=self.pool, resolve=self.resolve, gate_of=self._gate_of
            )
            routing = (
                self._gate_routing(run)
                if run.gate is not None
                else self._constant_routing(run.pool, run.replayed_weights(events))
            )
        return run, run.held(routing)

    def read_again(self, run: Run, call: Routing, ids: Sequence[int], *, logits_to_keep: int) -> torch.Tensor:
        """Logits (K, V) of one pass over `ids` under `call`; only in the model's thread. Raises NotReady."""
        if not self.decoder.knows(run.bank_experts):
            raise NotReady("An expert was removed just now.", "Try again.")
        read = torch.tensor([list(ids)], device=self.base.model.device)
        with torch.inference_mode():
            output = forward(self.base.model, call, read, use_cache=False, logits_to_keep=logits_to_keep)
        return output.logits[0]

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self.base.tokenizer.decode([token]) for token in ids]


def _served_from(decision: Decision, request: RunRequest) -> Decision:
    """The decision with the propensity that `request.serve` makes of its weights."""
    weights = decision.weights
    if request.serve == "mix":
        return replace(decision, propensity=weights, scheme="mixture")
    if request.serve == "sample":
        return replace(decision, propensity=weights, scheme="sample")
    heaviest = (np.arange(len(weights)) == weights.argmax()).astype(np.float32)
    return replace(decision, propensity=heaviest, scheme="argmax")


def _next_best(run: Run, refused: Expert) -> np.ndarray:
    """(E,) one-hot: who answers when a tool refused. The heaviest mixable expert; with no weight on any, the base."""
    if not run.pool.mixable.any():
        raise InvalidRequest(f"{refused.title} could not answer this.", "Add the base or another expert.")
    is_base = np.array([expert.kind == "base" for expert in run.pool.experts])
    preference = np.where(run.pool.mixable, run.decision_weights() + 1e-9 * is_base + 1e-12, 0.0)
    return np.asarray(np.arange(len(run.pool)) == preference.argmax(), np.float64)


def _check_layers(request: RunRequest, pool: Pool, layers: int) -> None:
    """Raises InvalidRequest for weights that cannot hold in the layers they are set for."""
    if not request.override_layers:
        return
    if request.override is None or not all(0 <= layer < layers for layer in request.override_layers):
        raise InvalidRequest("These layers cannot be overridden.", f"Give weights, and layers from 1 to {layers}.")
    if np.any(np.asarray(request.override)[~pool.mixable] > 0):
        raise InvalidRequest("A tool does not act inside layers.", "Give its weight to others, or choose all layers.")


def _overridden(run: Run) -> Decision:
    weights = normalised(run.request.override or ())
    sentence = "You set these weights: the answer shows what that routing would have given."
    return Decision(weights=weights, propensity=weights, scheme="override", evidence=Text(sentence))
