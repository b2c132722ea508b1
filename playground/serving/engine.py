"""Run a prompt: open the run, decide, ask tools, decode, and yield all of it as events.

Only here do all parts of a run meet. Closing the generator cancels the run within one token. The engine,
the routers and the model keep nothing of a run.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np

from playground.core.events import Event, TokenGenerated
from playground.core.values import Context, Decision, Pool, RunRequest, normalised
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest, PlaygroundError
from playground.experts.base import Answerer, AnswerRequest
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Row
from playground.model.sampling import Sampler
from playground.model.texts import TextStream
from playground.model.worker import Decoder, Job, JobBroke, Message, PromptSeen
from playground.routers.base import Installed, Policy, Router
from playground.serving import decide
from playground.serving.explain import gate_decision, with_words
from playground.serving.mixture import Mixtures
from playground.serving.recorder import Recorder
from playground.serving.run import Run

log = logging.getLogger(__name__)
Resolver = Callable[[RunRequest], tuple[Router, str]]
Shadower = Callable[[Run], tuple[Router, str] | None]


class Engine:
    """Serve runs over `pool`. `resolve(request)` returns the requested router and the id of its version.

    `shadow(run)` returns the version that decides beside it without serving, if there is one.
    """

    def __init__(
        self,
        base: LanguageModel,
        bank: Bank,
        *,
        decoder: Decoder,
        encoder: TextEncoder,
        max_prompt_tokens: int,
        pool: Pool,
        answerers: Mapping[str, Answerer],
        resolve: Resolver,
        shadow: Shadower = lambda _run: None,
    ) -> None:
        self.base = base
        self.bank = bank
        self.decoder = decoder
        self.encoder = encoder
        self.max_prompt_tokens = max_prompt_tokens
        self.pool = pool
        self.answerers = answerers
        self.resolve = resolve
        self.shadow = shadow
        self.mixtures = Mixtures(base, bank, encoder)
        self.experts_lock = threading.RLock()  # held while the bank and the pool change, and while both are read

    def run(self, request: RunRequest) -> Generator[Event]:
        """Yield the events of one run, from RunStarted to Finished or Failed."""
        return self.run_together([request])

    def run_together(self, requests: Sequence[RunRequest]) -> Generator[Event]:
        """Yield the events of several runs decoded in one batch, interleaved; `run_id` tells them apart.

        All RunStarted come first, in the order of `requests`. Raise InvalidRequest before the first event for a
        request with an unknown name.
        """
        recorders = [Recorder(self.open(request), self.base) for request in requests]
        messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        cancelled = threading.Event()
        try:
            for recorder in recorders:
                yield recorder.started()
            for recorder in recorders:
                yield from self._prepare(recorder)
            live = {recorder.run.run_id: recorder for recorder in recorders if not recorder.run.is_over}
            try:
                self.decoder.submit([self._job(recorder.run, messages, cancelled) for recorder in live.values()])
            except PlaygroundError as error:
                for recorder in live.values():
                    yield recorder.failed("queue", error)
                return
            while live:
                message = messages.get()
                recorder = live[message.key]
                yield from self._events_of(recorder, message)
                if recorder.run.is_over:
                    del live[message.key]
        finally:
            cancelled.set()

    def open(self, request: RunRequest) -> Run:
        """Return a run of `request`, with its router resolved and its pool chosen.

        Raise InvalidRequest for a request that cannot be served, and what `resolve` raises.
        """
        if not request.prompt.strip():
            raise InvalidRequest("The prompt is empty.", "Type something to send.")
        router, version = self.resolve(request)
        with self.experts_lock:
            usable = Pool(tuple(expert for expert in self.pool.experts if expert.ready))
            pool = usable if request.pool is None else usable.select(request.pool)
            decide.check_request(request, pool, layers=self.base.layers, heads=self.base.heads)
            gate = self.mixtures.gate_of(router, self.pool)
            if gate is not None and not pool.mixable.any():
                raise InvalidRequest("A gate needs experts it can mix.", "Add the base or a LoRA expert to the pool.")
            if request.override is not None and not request.override_layers:
                gate = None
            return Run(request, router, version, pool, self.bank.names, gate)

    # --- before decoding ------------------------------------------------------------------------------------

    def _prepare(self, recorder: Recorder) -> Iterator[Event]:
        """Decide and ask experts outside the model, up to where decoding starts. A failure ends this run only."""
        run = recorder.run
        try:
            run.ids = self.base.chat_ids(run.request.prompt)
            run.prompt_tokens = len(run.ids)
            if run.prompt_tokens > self.max_prompt_tokens:
                raise InvalidRequest(
                    f"The prompt is {run.prompt_tokens:,} tokens long; at most {self.max_prompt_tokens:,} are read.",
                    "Shorten it. The host can raise PLAYGROUND_MAX_PROMPT_TOKENS.",
                )
            override = run.request.override
            if override is not None and not run.request.override_layers:
                decision = decide.overridden(override)
                run.propensity, run.scheme = decision.weights, "override"
            elif isinstance(run.router, Policy):
                decision = self._decide(run, run.router)
                run.propensity, run.scheme = decide.propensity_of(decision.weights, run.request.serve)
            else:
                run.routing = self.mixtures.gated(run)
                return
            run.decision = decision
            yield recorder.decided(decision)
            yield from self._serve(recorder, decision, run.propensity)
        except PlaygroundError as error:
            yield recorder.failed("decide", error)
        except Exception as error:
            log.exception("run broke run=%s", run.run_id)
            yield recorder.failed("decide", error)

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
        decision = router.decide(context)
        run.timings["decide_s"] = time.monotonic() - began
        self._decide_beside(run, context)
        return with_words(decision, router, self.encoder, context)

    def _decide_beside(self, run: Run, context: Context) -> None:
        """Let the shadow version decide too. Nothing that goes wrong with it may disturb the run."""
        try:
            found = self.shadow(run)
            if found is not None and isinstance(found[0], Policy):
                weights = normalised(found[0].decide(context).weights)
                run.shadow, run.shadow_weights = found[1], tuple(float(weight) for weight in weights)
        except (PlaygroundError, ValueError, RuntimeError, LookupError) as error:
            log.warning("a shadow version could not decide run=%s reason=%s", run.run_id, error)

    def _serve(self, recorder: Recorder, decision: Decision, propensity: np.ndarray) -> Iterator[Event]:
        """Turn the decision into what answers: an expert outside the model, one inside it, or a mixture."""
        run = recorder.run
        weights = decide.answering_weights(propensity, run.scheme, run.request.sampling.seed)
        heaviest = int(weights.argmax())
        mixable = np.where(run.pool.mixable, weights, 0.0)
        if not run.pool.experts[heaviest].is_mixable:
            yield from self._ask(recorder, heaviest)
            if run.forced or run.is_over:
                return
            mixable = decide.in_place_of(run.pool, heaviest, weights, decision.weights)
        run.routing = self.mixtures.constant(run, normalised(mixable))

    def _ask(self, recorder: Recorder, position: int) -> Iterator[Event]:
        """Let an expert outside the model answer. When it gives no text, another expert has to answer."""
        run = recorder.run
        answerer = self.answerers[run.pool.experts[position].name]
        text = ""
        with closing(answerer.answer(AnswerRequest(run.request.prompt, run.request.sampling))) as events:  # type: ignore[type-var]
            for event in events:
                if not isinstance(event, TokenGenerated):
                    yield recorder.take(event)
                    continue
                text += event.text
                run.written_by = position
                if not answerer.is_written:
                    yield recorder.piece(event)
        if not text:
            run.written_by = None  # an empty piece is no answer: the next expert gets the weights of its own tokens
            return
        if answerer.is_written:
            run.routing = self.mixtures.constant(run, np.zeros(len(run.pool)))
            run.forced = [*self.base.answer_ids(text), self.base.tokenizer.eos_token_id]
        else:
            yield recorder.finished("stop")

    # --- decoding -------------------------------------------------------------------------------------------

    def _job(self, run: Run, messages: "queue.SimpleQueue[Message]", cancelled: threading.Event) -> Job:
        """Return the run as a job for the decoder."""
        if run.routing is None:
            raise RuntimeError("the run has no routing yet")
        sampling = run.request.sampling
        row = Row(
            ids=list(run.ids),
            routing=run.routing,
            sampler=Sampler(sampling, self.base.vocabulary),
            observe=run.request.observe,
            forced=deque(run.forced),
        )
        limit = len(run.forced) or min(sampling.max_new_tokens, self.base.max_tokens - len(run.ids))
        stream = TextStream(self.base.tokenizer)
        ends = self.base.end_ids
        return Job(run.run_id, row, limit, ends, sampling.stop, stream, messages, cancelled, run.bank_experts)

    def _events_of(self, recorder: Recorder, message: Message) -> Iterator[Event]:
        """Yield the events that a message of the decoder makes."""
        run = recorder.run
        if isinstance(message, JobBroke):
            yield recorder.failed("decode", message.error)
        elif isinstance(message, PromptSeen):
            if message.seen.layer_weights is not None:
                run.prompt_weights = run.over_pool(message.seen.layer_weights)
            yield recorder.prompt_read()
            if run.gate is not None and run.decision is None and run.prompt_weights is not None:
                run.decision = gate_decision(run, run.prompt_weights)
                yield recorder.decided(run.decision)
        else:
            yield recorder.token(message)
            if message.reason:
                yield recorder.finished(message.reason)

    # --- the experts there are ------------------------------------------------------------------------------

    def change_experts(self, adapters: Sequence[Adapter], pool: Pool) -> None:
        """Make `adapters` what can be mixed and `pool` what runs choose from, at once for every run that begins later.

        Raise NotReady when an expert would leave while a run is under way.
        """
        with self.experts_lock:
            self.decoder.restack(adapters)
            self.pool = pool
            self.mixtures.forget_gates()

    def installed(self) -> Installed:
        """Return the mixable experts there are now, as gates that take in any expert need them."""
        with self.experts_lock:
            return self.mixtures.installed(self.pool)
