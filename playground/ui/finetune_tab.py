"""The Fine-tune tab: labels, a learning curve, what changed, and promoting or rolling back a version."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import finetune as finetuning
from playground.errors import InvalidRequest, NotReady
from playground.ui import parts
from playground.ui.failures import ended, guarded
from playground.ui.option_controls import OptionControls
from playground.ui.turns import Turn, Turns
from playground.ui.views import finetune
from playground.ui.views.routers import router_choices
from playground.ui.wire import opening

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime
    from playground.ui.playground_tab import PlaygroundTab

CURVE = (
    '<section class="curve" aria-label="Learning curve"><header><h3>Learning</h3><span class="keys">'
    '<span><i class="dash"></i>training loss</span><span><i></i>validation loss</span>'
    '<button type="button" class="quiet log" aria-pressed="false">log</button>'
    '<button type="button" class="quiet curve-csv">CSV</button></span></header>'
    '<canvas role="img" aria-label="Learning curve; nothing yet"></canvas><p class="curve-words"></p>'
    '<details class="twin"><summary>show as table</summary><div></div></details></section>'
)
ADMIN_HINT = "You need the admin password to promote a version or to roll back."


class FineTuneTab:
    """The tab's components and callbacks."""

    def __init__(self, runtime: "Runtime", tabs: gr.Tabs, play: "PlaygroundTab") -> None:
        self.runtime = runtime
        self.play = play
        self.draft, self.shown = (gr.State("", time_to_live=86400) for _ in range(2))
        self.turns = Turns()
        self.turn = gr.State("", time_to_live=7200)
        with gr.Row(elem_id="tune"):
            with gr.Column(scale=0, min_width=320, elem_id="tune-controls"):
                self._draw_choices()
            with gr.Column(scale=1, min_width=320, elem_id="tune-result"):
                self.curve = parts.drawn("curve", "", CURVE, elem_id="curve")
                with gr.Row(visible=False, elem_id="decide") as self.decide:
                    self.promote = gr.Button(
                        "Promote: use this version", variant="primary", elem_id="promote", size="sm"
                    )
                    self.keep = gr.Button("Keep as a draft", elem_id="keep-draft", size="sm")
                self.outcome = parts.pressable("", elem_id="outcome")
                gr.Markdown("### Versions", elem_classes="section")
                with gr.Group(visible=False, elem_id="looked-version") as self.looked:
                    self.figures = parts.markup("", elem_id="version-figures")
                    with gr.Row():
                        self.use = gr.Button("Use this version", variant="primary", size="sm", elem_id="use-version")
                        self.leave = gr.Button("Close", size="sm", elem_id="close-version")
                self.versions = parts.pressable(finetune.versions_html([]), elem_id="versions")
                self.announce = parts.announcer("tune-status")
        self._wire(tabs)

    def _draw_choices(self) -> None:
        self.facts = parts.markup('<p class="hint">Counting the labels …</p>', elem_id="tune-facts")
        routers = finetuning.trainable(self.runtime) or [("Linear probe", "linear")]
        value = "linear" if "linear" in [name for _, name in routers] else routers[0][1]
        self.router = gr.Dropdown(routers, value=value, label="Router", elem_id="tune-router")
        choices, default = finetuning.objectives(self.runtime), finetuning.DEFAULT_OBJECTIVE
        self.objective = gr.Dropdown(choices, value=default, label="Objective", elem_id="tune-objective")
        self.line = parts.markup("", elem_id="objective-line")
        with gr.Accordion("Settings of the objective", open=False):
            controls = finetuning.option_controls(self.runtime, default)
            self.options = OptionControls("tune-option", controls)
        with gr.Row():
            self.run = gr.Button("Fine-tune", variant="primary", elem_id="tune-run", scale=2, min_width=120)
            self.cancel = gr.Button("Cancel", elem_id="tune-cancel", scale=1, min_width=80)
        settings = self.runtime.settings
        needs_password = bool(settings.admin_password) or settings.is_space
        self.password = gr.Textbox(
            label="Admin password",
            info=ADMIN_HINT,
            type="password",
            max_length=200,
            visible=needs_password,
            elem_id="admin",
        )
        self.rollback = gr.Button("Roll back to the previous version", elem_id="rollback", size="sm")

    def _wire(self, tabs: gr.Tabs) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        outputs = [self.curve, self.outcome, self.decide, self.draft, self.versions, self.announce, self.facts]
        asked = [self.router, self.objective, *self.options.components]
        tune: dict[str, Any] = {**quiet, "concurrency_id": "tune", "concurrency_limit": 1}
        self.run.click(self.fine_tune, [self.turn, *asked], [self.turn, *outputs], **tune)
        self.cancel.click(self.cancelled, self.turn, self.announce, **quiet)
        after = [self.versions, self.facts, self.play.router, self.decide, self.looked, self.announce]
        self.promote.click(guarded(self.put_in_force), [self.draft, self.router, self.password], after, **quiet)
        self.use.click(guarded(self.put_in_force), [self.shown, self.router, self.password], after, **quiet)
        self.keep.click(lambda: gr.Row(visible=False), None, self.decide, **quiet)
        self.leave.click(lambda: gr.Group(visible=False), None, self.looked, **quiet)
        self.rollback.click(guarded(self.put_back), [self.router, self.password], after, **quiet)
        belonging = [self.versions, self.facts, self.decide, self.looked]  # to the router chosen before
        self.router.change(guarded(self.choose_router), self.router, belonging, **quiet)
        drawn = [self.line, *self.options.components]
        self.objective.change(guarded(self.choose), self.objective, drawn, **quiet)

        def pressed(router: str, event: gr.EventData) -> dict[Any, Any]:
            return self.look(str(event._data.get("id", "")), router)

        def try_prompt(event: gr.EventData) -> tuple[str, gr.Tabs]:
            limit = self.runtime.settings.max_prompt_chars
            return str(event._data.get("id", ""))[:limit], gr.Tabs(selected="play")

        looking = [self.looked, self.figures, self.use, self.shown, self.announce]
        self.versions.select(guarded(pressed), self.router, looking, **quiet)
        self.outcome.select(guarded(try_prompt), None, [self.play.prompt, tabs], **quiet)

    def fine_tune(self, before: Any, router: str, objective: str, *given: Any) -> Iterator[dict[Any, Any]]:
        """Learn and draw the curve. At the end show before and after, what changed, and the draft to decide on."""
        turn = self.turns.begin(before)
        try:
            yield from self._fine_tune(turn, router, objective, given)
        finally:
            turn.done.set()

    def _fine_tune(self, turn: Turn, router: str, objective: str, given: Sequence[Any]) -> Iterator[dict[Any, Any]]:
        text = [opening(secrets.token_hex(4)) + finetune.note_line("reading the labels")]
        yield {self.turn: turn.token, self.curve: text[0], self.announce: "Fine-tuning."}

        def failed(message: str, remedy: str) -> dict[Any, Any]:
            sentence = f"{message} {remedy}".strip()
            return {self.curve: text[0] + finetune.note_line(sentence), self.announce: sentence}

        yield from ended(self._learn(turn, text, router, objective, given), failed)

    def _learn(
        self, turn: Turn, text: list[str], router: str, objective: str, given: Sequence[Any]
    ) -> Iterator[dict[Any, Any]]:
        """Learn and draw the curve. `text[0]` is the curve so far; the caller writes a failure under it."""
        if not self.runtime.is_ready:
            raise NotReady("The models are still loading.", "Try again in a moment.")
        result: finetuning.FineTuned | None = None
        replaced: dict[Any, Any] = {self.outcome: "", self.decide: gr.Row(visible=False), self.draft: ""}
        options = self.options.values(finetuning.option_controls(self.runtime, objective), given)
        learning = finetuning.fine_tune(
            finetuning.teaching_of(self.runtime), router, objective=objective, options=options
        )
        with closing(learning) as steps:  # type: ignore[type-var]
            for step in steps:
                if isinstance(step, finetuning.FineTuned):
                    result = step
                elif turn.left.is_set():
                    note = finetune.note_line("cancelled, the version in use is unchanged")
                    yield {self.curve: text[0] + note, self.announce: "Cancelled."}
                    return
                else:
                    text[0] += finetune.point_line(step)
                    yield replaced | {self.curve: text[0]}  # the result before stays until this one begins
                    replaced = {}
        if result is None:
            return
        sentence = f"Done: a draft of {result.router}. {result.moved} of {result.probes} test prompts change experts."
        yield {
            self.curve: text[0] + finetune.note_line("done"),
            self.outcome: finetune.outcome_html(result, self.runtime.pool),
            self.decide: gr.Row(visible=True),
            self.draft: result.version,
            self.versions: finetune.versions_html(finetuning.history(self.runtime, router)),
            self.announce: sentence,
        }

    def cancelled(self, running: Any) -> str:
        """Cancel, and return what to say. The curve shows when the learning has ended."""
        turn = self.turns.get(running)
        if turn is None or turn.done.is_set():
            gr.Info("Nothing is being learned just now.", duration=3)
            return "Nothing is being learned just now."
        turn.left.set()
        return "Cancelling."

    def refresh(self, router: str) -> tuple[str, str]:
        """Return (versions, facts) of the chosen router."""
        versions = finetuning.history(self.runtime, router)
        current = next((version.id for version in versions if version.is_current), "")
        facts = finetune.facts_html(finetuning.count_labels(self.runtime), current)
        return finetune.versions_html(versions), facts

    def choose_router(self, router: str) -> dict[Any, Any]:
        """Show the versions of another router. What was shown of the router before is hidden."""
        versions, facts = self.refresh(router)
        hidden = {self.decide: gr.Row(visible=False), self.looked: gr.Group(visible=False)}
        return {self.versions: versions, self.facts: facts, **hidden}

    def look(self, version: str, router: str) -> dict[Any, Any]:
        """Show the stored figures of a version, and ask before it is used. Raise InvalidRequest for an unknown one."""
        found = next((known for known in finetuning.history(self.runtime, router) if known.id == version), None)
        if found is None:
            raise InvalidRequest("This version is not there any more.", "Reload the page.")
        return {
            self.looked: gr.Group(visible=True),
            self.figures: finetune.version_html(found, finetuning.figures_of(found)),
            self.use: gr.Button(visible=not found.is_current),
            self.shown: found.id,
            self.announce: f"Figures of the version {found.id}.",
        }

    def describe(self, objective: str) -> str:
        """Return one line on the chosen objective."""
        return f'<p class="hint">{escape(finetuning.objective_line(self.runtime, objective))}</p>'

    def choose(self, objective: str) -> dict[Any, Any]:
        """Draw what an objective does, and its options."""
        controls = finetuning.option_controls(self.runtime, objective)
        return {self.line: self.describe(objective), **self.options.updates(controls)}

    def arrive(self, router: str, objective: str) -> dict[Any, Any]:
        """Return what the tab shows when it is opened: labels, versions, and menus, filled once models are loaded."""
        versions, facts = self.refresh(router)
        routers = finetuning.trainable(self.runtime)
        value: dict[Any, Any] = {self.versions: versions, self.facts: facts}
        if routers:
            value |= {self.router: gr.Dropdown(choices=routers)}
            value |= {self.objective: gr.Dropdown(choices=finetuning.objectives(self.runtime))}
            value |= {self.line: self.describe(objective)}
        return value

    def _decided(self, router: str, sentence: str) -> dict[Any, Any]:
        versions, facts = self.refresh(router)
        gr.Info(sentence, duration=4)
        return {
            self.versions: versions,
            self.facts: facts,
            self.play.router: gr.HTML(choices=router_choices(self.runtime.routers())),
            self.decide: gr.Row(visible=False),
            self.looked: gr.Group(visible=False),
            self.announce: sentence,
        }

    def put_in_force(self, version: str, router: str, password: str) -> dict[Any, Any]:
        """Promote `version`."""
        finetuning.promote(self.runtime, version, password)
        return self._decided(router, "This version is in use now. Roll back returns to the previous one.")

    def put_back(self, router: str, password: str) -> dict[Any, Any]:
        """Roll back to the previous version."""
        finetuning.roll_back(self.runtime, router, password)
        return self._decided(router, "The previous version is in use again.")
