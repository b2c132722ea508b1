"""The Playground tab: a prompt, a router, and where the prompt goes while the answer is written."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import ask, ask_again, examples, identity, runs
from playground.actions.ask_again import LastRun
from playground.core.fold import ViewState
from playground.core.values import SERVES, Observe, RunRequest
from playground.errors import InvalidRequest, PlaygroundError
from playground.ui import likeness, parts, readiness, wire
from playground.ui.attention import AttentionOnDemand
from playground.ui.browser_values import pressed_id
from playground.ui.failures import ended, explained, guarded, words_of
from playground.ui.fair_queue import MODEL
from playground.ui.format import percents, plural
from playground.ui.option_controls import OptionControls
from playground.ui.run_export import export_function
from playground.ui.stream import streamed
from playground.ui.turns import Turn, Turns
from playground.ui.views import history
from playground.ui.views.experts import pool_choices
from playground.ui.views.override import override_value
from playground.ui.views.routers import router_choices

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

ROUTER_MENU = (
    '<div class="router-menu"><label>Router <select aria-describedby="router-card"></select></label>'
    '<div class="router-card" id="router-card"></div></div>'
)
STOP = "(...asked) => { for (const kind of ['run', 'other']) window.Playground.view(kind)?.stop(); return asked; }"
STORE_SECONDS = 5.0
FIRST_WATCHED = Observe(10, 3)  # as the controls count, from 1
OVERRIDE_HINT = (
    "What if the weights were different? Change the weights of the last run, in all layers or some, or leave experts "
    "out. The new answer appears beside the first. It is never stored as a label."
)


def spoken(state: ViewState) -> str:
    """Return the sentence for the status region when a run ends."""
    if state.failed is not None:
        return f"The run failed: {state.failed.message}"
    weights = state.weights
    if weights is None or state.finished is None:
        return ""
    share = percents(weights)[state.pool.index(state.top_expert)]
    return f"Answered with {plural(state.finished.tokens, 'token')}, mostly {state.top_expert}, {share}."


def own_runs(runtime: "Runtime", handle: str) -> str:
    """Return the list of recent runs."""
    return history.recent_html(runs.recent(runtime, handle), runtime.pool)


def failed_line(message: str, remedy: str) -> str:
    """Return the line that shows what went wrong before or beside a run."""
    return wire.failure("starting", message, remedy)


def opened(runtime: "Runtime", run_id: str) -> str:
    """Return the lines of a stored run, the same as when it was live. Raise InvalidRequest for an unknown run."""
    events = runs.events_of(runtime, run_id)
    return wire.opening(secrets.token_hex(4), note="reopened") + wire.lines(events, runtime.pool)


def example_lines(runtime: "Runtime") -> str:
    """Return the recorded run that the page shows at first. Empty when there is none."""
    stored = examples.recorded_run()
    if not stored:
        return ""
    return wire.opening("example", note="a recorded run", example=True) + wire.lines(stored, runtime.pool)


class PlaygroundTab:
    """The tab's components and callbacks over one runtime. It keeps nothing of a visitor."""

    def __init__(self, runtime: "Runtime", handle: gr.BrowserState) -> None:
        self.runtime = runtime
        self.handle = handle
        self.last = gr.State(None, time_to_live=7200)
        self.turns = Turns()
        self.turn, self.aside = (gr.State("", time_to_live=7200) for _ in range(2))
        with gr.Row(elem_id="play"):
            with gr.Column(scale=0, min_width=360, elem_id="play-controls"):
                self._draw_question()
                self._draw_settings()
                self._draw_override()
                with gr.Accordion("Recent runs", open=False, elem_id="recent-box"):
                    self.recent = parts.pressable(history.recent_html([], runtime.pool), elem_id="recent")
            with gr.Column(scale=1, min_width=320, elem_id="play-run"):
                functions = [export_function(runtime), *AttentionOnDemand(runtime).server_functions()]
                self.view = parts.drawn(
                    "run", example_lines(runtime), "run/run.html", elem_id="run-view", functions=functions
                )
                likeness.build(runtime)
                self.announce = parts.announcer("play-status")
                self.other = parts.feed("other", elem_id="other-feed")
        self._wire()

    def _draw_question(self) -> None:
        self.prompt = gr.Textbox(
            label="Prompt",
            placeholder="Ask something. Ctrl+Enter runs.",
            lines=4,
            max_lines=12,
            max_length=self.runtime.settings.max_prompt_chars,
            autofocus=True,
            elem_id="prompt",
        )
        limit = self.runtime.settings.max_prompt_chars
        self.chips = parts.pressable(history.examples_html(examples.PROMPTS, limit=limit), elem_id="examples")
        choices = router_choices(self.runtime.routers())
        self.router = parts.drawn("routers", ask.DEFAULT_ROUTER, ROUTER_MENU, elem_id="router", choices=choices)
        with gr.Row(elem_id="actions"):
            self.run_button = gr.Button("Run  Ctrl+⏎", variant="primary", elem_id="run", scale=3)
            self.stop_button = gr.Button("Stop  .", elem_id="stop", scale=1)
        self.refusal = parts.markup("", elem_id="play-refusal")

    def _draw_settings(self) -> None:
        choices = pool_choices(self.runtime.pool)
        self.experts = parts.drawn("pool", "", "page/pool.html", elem_id="pool", choices=choices)
        with gr.Accordion("How it answers", open=False, elem_id="sampling"):
            at = ask.DEFAULTS
            ways = [(words, name) for name, words in SERVES.items()]
            serve = gr.Radio(ways, value="top", label="Use of the weights", elem_id="serve")
            longest = "longest answer (tokens)"
            tokens = gr.Slider(1, 512, value=at.max_new_tokens, step=1, label=longest, elem_id="max-tokens")
            greedy = "temperature (0: always the likeliest token)"
            temperature = gr.Slider(0, 2, value=at.temperature, step=0.05, label=greedy)
            top_p = gr.Slider(0.05, 1, value=at.top_p, step=0.05, label="top-p")
            penalty = gr.Slider(1, 2, value=at.repetition_penalty, step=0.05, label="repetition penalty")
            seed = gr.Number(at.seed, label="seed", precision=0, minimum=0)
        with gr.Accordion("Attention to watch", open=False, elem_id="watching"):
            # the size of the default model, until the loaded model gives its own
            self.layer = gr.Slider(0, 30, value=FIRST_WATCHED.layer, step=1, label="layer (0: none)", elem_id="layer")
            self.head = gr.Slider(1, 9, value=FIRST_WATCHED.head, step=1, label="head", elem_id="head")
        with gr.Accordion("Router settings", open=False, visible=False, elem_id="router-options") as self.tuning:
            gr.Markdown("They apply to your next run only.", elem_classes="hint")
            self.options = OptionControls("router-option", ())
        watched = [self.layer, self.head]
        sampling = [serve, temperature, top_p, penalty, tokens, seed]
        self.settings: list[gr.components.Component] = [*sampling, *watched, *self.options.components]

    def _draw_override(self) -> None:
        with gr.Accordion("Override the weights", open=False, elem_id="override"):
            gr.Markdown(OVERRIDE_HINT, elem_classes="hint")
            self.override = parts.drawn("override", "", "page/override.html", elem_id="override-panel")
            self.again = gr.Button("Answer again", elem_id="again", size="sm")

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        limit = self.runtime.settings.max_batch
        model: dict[str, Any] = {**quiet, "concurrency_id": MODEL, "concurrency_limit": limit}
        asked: list[Any] = [self.handle, self.prompt, self.router, self.experts, *self.settings]
        outputs: list[Any] = [self.view, self.other, self.announce, self.last, self.recent, self.override]
        turns = [self.turn, self.aside]
        self.run_button.click(self.answer, [*turns, *asked], [self.turn, self.refusal, *outputs], **model)
        asked_again = [*turns, self.last, self.override, self.handle]
        self.again.click(self.answer_again, asked_again, [self.aside, self.other], **model)
        kept = [self.last, self.override, self.recent, self.announce]
        stopping: dict[str, Any] = {"js": STOP, "trigger_mode": "multiple"}
        self.stop_button.click(guarded(self.stop), [*turns, self.handle], kept, **stopping, **quiet)
        self.chips.select(guarded(self.pick), None, self.prompt, **quiet)
        self.router.change(guarded(self.tune), self.router, [self.tuning, *self.options.components], **quiet)
        reopened = [self.view, self.other, self.last, self.override]
        self.recent.select(guarded(self.reopen), turns, reopened, **quiet)
        self.view.select(guarded(self.reopen), turns, reopened, **quiet)  # after a reload of the page

    def request(self, values: Sequence[Any]) -> tuple[RunRequest, str]:
        """Return (request, notice) from what a browser sent.

        `values` are prompt, router, experts, serve, five sampling values, layer, head and the router's settings.
        """
        prompt, router, experts, serve, temperature, top_p, penalty, tokens, seed, layer, head, *options = values
        text, notice = ask.checked_prompt(prompt, self.runtime.settings.max_prompt_chars)
        sampling = ask.read_sampling(temperature, top_p, penalty, tokens, seed)
        request = RunRequest(
            text,
            str(router)[:60],
            pool=ask.read_pool(self.runtime.pool, experts),
            sampling=sampling,
            observe=ask.read_observe(layer, head),
            serve=ask.read_serve(serve),
            options=OptionControls.changes(self.controls_of(router), options),
        )
        return request, notice

    def controls_of(self, router: Any) -> tuple[Mapping[str, Any], ...]:
        """Return the settings of a router that a run may change. None while models load."""
        return next((info.options for info in self.runtime.routers() if info.name == router), ())

    def tune(self, router: Any) -> dict[Any, Any]:
        """Return updates that draw the settings of the chosen router, with the values of its version in force."""
        controls = self.controls_of(router)
        return {self.tuning: gr.Accordion(visible=bool(controls)), **self.options.updates(controls)}

    def stream(self, request: RunRequest, text: str, handle: str, turn: Turn) -> Iterator[tuple[str, ViewState]]:
        """Yield the lines of one run so far. Wait for the models first. If the run breaks, the last line says why."""
        newest: tuple[str, ViewState] = (text, ViewState())

        def kept() -> Iterator[tuple[str, ViewState]]:
            nonlocal newest
            for item in self._lines(request, text, handle, turn):
                newest = item
                yield item

        yield from ended(kept(), lambda *trouble: (newest[0] + failed_line(*trouble), newest[1]))

    def _lines(self, request: RunRequest, text: str, handle: str, turn: Turn) -> Iterator[tuple[str, ViewState]]:
        for waiting in readiness.until_ready(self.runtime, turn.left):
            text += waiting
            yield text, ViewState()
        if turn.left.is_set():
            return
        ask.known_router(self.runtime, request.router)
        events = self.runtime.run(request, session_id=identity.session_of(handle))
        with closing(events):
            for shown, state in streamed(events, self.runtime.pool, text=text):
                turn.run_id = state.run_id
                if turn.left.is_set():
                    return
                yield shown, state

    def answer(self, before: Any, aside: Any, kept: Any, *values: Any) -> Iterator[dict[Any, Any]]:
        """Run the prompt. Write its lines into the view as they come, then the panels and the spoken sentence.

        A request that cannot run changes nothing but the sentence under the button.
        """
        try:
            request, notice = self.request(values)
        except PlaygroundError as error:
            yield {self.refusal: parts.trouble(words_of(error))}
            return
        self.turns.leave(aside)
        turn = self.turns.begin(before)
        try:
            yield from self._answer(turn, kept, request, notice)
            if turn.left.is_set():
                yield {self.turn: gr.skip()}  # the framework repeats the last update at the end
        finally:
            turn.done.set()

    def _answer(self, turn: Turn, kept: Any, request: RunRequest, notice: str) -> Iterator[dict[Any, Any]]:
        text, nothing = wire.opening(secrets.token_hex(4), note=notice), wire.opening(secrets.token_hex(4))
        opened = {self.view: text, self.other: nothing, self.refusal: ""}
        yield opened | {self.turn: turn.token, self.announce: "Answering."}
        who, state = identity.handle_of(kept), ViewState()
        for shown, reached in self.stream(request, text, who, turn):
            text, state = shown, reached
            yield {self.view: text}
        if turn.left.is_set():
            return
        done: dict[Any, Any] = {self.view: text, self.announce: spoken(state)}
        if state.started is not None:
            done |= {
                self.last: LastRun(request, state.pool, state.run_id),
                self.recent: own_runs(self.runtime, who),
            }
            done[self.override] = override_value(state, self.runtime.pool)
        yield done

    def stop(self, running: Any, aside: Any, kept: Any) -> dict[Any, Any]:
        """Stop the current run. Once it is stored, it is listed and can be answered again."""
        self.turns.leave(aside)
        turn = self.turns.get(running)
        if turn is None or turn.done.is_set():
            return {self.announce: gr.skip()}
        turn.left.set()
        turn.done.wait(STORE_SECONDS)
        if not turn.run_id:
            return {self.announce: "Stopped."}
        try:
            last, state = ask_again.stored_run(self.runtime, turn.run_id)
        except InvalidRequest:
            return {self.last: None, self.override: "", self.announce: "The run was stopped and could not be stored."}
        said = f"Stopped after {plural(len(state.tokens), 'token')}."
        override = override_value(state, self.runtime.pool)
        recent = own_runs(self.runtime, identity.handle_of(kept))
        return {self.last: last, self.override: override, self.recent: recent, self.announce: said}

    def answer_again(self, running: Any, before: Any, *values: Any) -> Iterator[dict[Any, Any]]:
        """Answer the same prompt with the weights of the panel, beside the first answer.

        At the end say how likely each routing finds the other's answer.
        """
        turn, main = self.turns.begin(before), self.turns.get(running)
        for number, text in enumerate(self._again(turn, main, *values)):
            if turn.left.is_set():
                yield {self.aside: gr.skip()}  # as in `answer`
                return
            yield {self.other: text} | ({} if number else {self.aside: turn.token})

    def _again(self, turn: Turn, main: Turn | None, previous: LastRun | None, asked: Any, kept: Any) -> Iterator[str]:
        text = wire.opening(secrets.token_hex(4), note="override")
        try:
            if previous is None:
                raise InvalidRequest("There is no run to answer again.", "Run a prompt first, then change the weights.")
            if main is not None and not main.done.is_set():
                raise InvalidRequest("A run is still being written.", "Wait until it ends, or stop it.")
            request = ask_again.counterfactual(previous.request, self.runtime.pool.select(previous.pool), asked)
        except PlaygroundError as error:
            yield text + failed_line(*explained(error))
            return
        text += wire.record(wire.ChangeLine(sentence=ask_again.change_words(request, previous.pool)))
        yield text
        state = ViewState()
        for shown, reached in self.stream(request, text, identity.handle_of(kept), turn):
            text, state = shown, reached
            yield text
        if state.finished is not None and state.finished.tokens:
            yield text + wire.record(
                wire.LikelihoodsLine(sentence="Computing how likely each routing finds the other's answer …")
            )
            yield text + self._likelihoods(previous.run_id, state.run_id)

    def _likelihoods(self, first: str, second: str) -> str:
        """Return the line on how likely two runs find each other's answers, or why that is not known."""
        try:
            found = self.runtime.likelihoods(first, second)
        except PlaygroundError as error:
            return wire.record(wire.LikelihoodsLine(sentence=words_of(error)))
        rounded = {name: value if value is None else round(value, 4) for name, value in vars(found).items()}
        return wire.record(wire.LikelihoodsLine(**rounded))

    def pick(self, event: gr.EventData) -> str:
        """Return the example prompt that was pressed."""
        position = pressed_id(event)
        return examples.PROMPTS[int(position) % len(examples.PROMPTS)][1] if position.isdecimal() else ""

    def reopen(self, running: Any, aside: Any, event: gr.EventData) -> dict[Any, Any]:
        """Show the recent run that was pressed. Stop the current run, and remove the run beside it."""
        self.turns.leave(running)
        self.turns.leave(aside)
        return self.open(pressed_id(event)) | {self.other: wire.opening(secrets.token_hex(4))}

    def open(self, run_id: str) -> dict[Any, Any]:
        """Show a stored run, ready to be answered again. Raise InvalidRequest for an unknown run."""
        text = opened(self.runtime, run_id)
        last, state = ask_again.stored_run(self.runtime, run_id)
        return {self.view: text, self.last: last, self.override: override_value(state, self.runtime.pool)}

    def menus(self) -> dict[Any, Any]:
        """Return updates with the routers and experts there are now. What the visitor chose stays."""
        return {
            self.router: gr.HTML(choices=router_choices(self.runtime.routers())),
            self.experts: gr.HTML(choices=pool_choices(self.runtime.pool)),
        }

    def sized(self) -> dict[Any, Any]:
        """Return the attention controls with the limits of the loaded model."""
        layers, heads = self.runtime.attention_size
        chosen: dict[str, Any] = {} if layers >= FIRST_WATCHED.layer and heads >= FIRST_WATCHED.head else {"value": 1}
        return {self.layer: gr.Slider(maximum=layers, **chosen), self.head: gr.Slider(maximum=max(1, heads), **chosen)}
