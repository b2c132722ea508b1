"""The Experts tab: what each expert is, prompts to try it with, and adding or removing an adapter."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import ask, experts, runs
from playground.actions.experts import Candidate, card_from, discard
from playground.actions.identity import require_admin
from playground.errors import InvalidRequest
from playground.ui import parts
from playground.ui.browser_values import pressed_id
from playground.ui.failures import ended, guarded
from playground.ui.palette import PALETTE
from playground.ui.views.experts import checklist_html, experts_html, working_html
from playground.ui.visitors import asking_address

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime
    from playground.ui.playground_tab import PlaygroundTab

INTRO = (
    "An expert is anything that can answer or help: the shared model as it is, an adapter on it, or an exact tool. "
    "The shared model is small (135 million parameters). Look at where its experts differ, not at what it knows."
)
ADDING = (
    "You can add any PEFT LoRA made for this base model. Nothing is trained: the even mix, Arrow and GLIDER use it "
    "from the next run. It is checked first. It must be a plain LoRA in safetensors, because pickles are never opened. "
    "It must fit the base, its modules and its shapes, hold finite numbers only, and be at most {limit} MB."
)
CLOSED = "Only the host can add experts. On a Space, the host sets `PLAYGROUND_ADMIN_PASSWORD` to allow it."
SECRET = "You need the admin password to add or remove experts."
STAYS_SECONDS = 3600
PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def serving_router(runtime: "Runtime", chosen: Any) -> str:
    """Return `chosen` when it decides from the prompt, else kNN. A gate serves only experts it knows."""
    by_prompt = [info.name for info in runtime.routers() if info.level == "prompt"]
    return str(chosen) if chosen in by_prompt else ask.DEFAULT_ROUTER


class ExpertsTab:
    """The tab's components and callbacks."""

    def __init__(self, runtime: "Runtime", tab: gr.Tab, tabs: gr.Tabs, play: "PlaygroundTab") -> None:
        self.runtime = runtime
        self.play = play
        settings = runtime.settings
        self.is_open = bool(settings.admin_password) or not settings.is_space
        self.needs_password = bool(settings.admin_password)
        # a candidate's files wait on disk; they are deleted when the visitor leaves without adding it
        self.candidate = gr.State(None, time_to_live=STAYS_SECONDS, delete_callback=_forget)
        self.leaving = gr.State("")
        gr.Markdown(INTRO, elem_classes="intro")
        self._draw_removing()
        self.cards = parts.pressable(self.cards_html(), elem_id="experts")
        with gr.Accordion("Add an adapter", open=False, elem_id="add-expert"):
            gr.Markdown(ADDING.format(limit=settings.max_adapter_mb) if self.is_open else CLOSED, elem_classes="hint")
            with gr.Row(visible=self.is_open, elem_id="adding"):
                with gr.Column(min_width=280):
                    self._draw_source()
                with gr.Column(min_width=280):
                    self.list = parts.markup("", elem_id="checklist")
                    with gr.Column(visible=False, elem_id="adapter-card") as self.form:
                        self._draw_card()
        self.announce = parts.announcer("experts-status")
        self._wire(tab, tabs)

    def _draw_removing(self) -> None:
        with gr.Row(visible=False, elem_id="removing") as self.removing:
            self.question = parts.markup("", elem_id="removing-question")
            self.remove = gr.Button("Remove", variant="stop", size="sm", elem_id="remove-expert", min_width=90)
            self.stay = gr.Button("Keep", size="sm", elem_id="keep-expert", min_width=90)

    def _draw_source(self) -> None:
        self.files = gr.File(
            label="A zip file, or its two files",
            file_count="multiple",
            height=150,
            elem_id="adapter-files",
        )
        self.source = gr.Textbox(
            label="Or a folder on this machine, or a hub id",
            placeholder="owner/name",
            max_length=4096,
            lines=1,
            elem_id="adapter-source",
        )
        self.password = gr.Textbox(
            label="Admin password",
            info=SECRET,
            type="password",
            max_length=200,
            visible=self.needs_password,
            elem_id="experts-admin",
        )
        self.check = gr.Button("Check", variant="primary", elem_id="check-adapter")

    def _draw_card(self) -> None:
        with gr.Row():
            self.title = gr.Textbox(label="Title", max_length=60, elem_id="card-title", min_width=120)
            self.name = gr.Textbox(
                label="Name", info="lower case and underscores", max_length=40, elem_id="card-name", min_width=120
            )
        with gr.Row():
            self.mark = gr.Textbox(label="Mark", info="two letters", max_length=2, elem_id="card-mark", min_width=80)
            colours = [(f"{number} · {colour.name}", number) for number, colour in enumerate(PALETTE)]
            self.slot = gr.Dropdown(colours, value=0, label="Colour", elem_id="card-slot", min_width=120)
        self.description = gr.Textbox(
            label="Description",
            info="One sentence on what it is good at. Routers that were not trained on it use this.",
            max_length=600,
            lines=2,
            elem_id="card-description",
        )
        self.examples = gr.Textbox(
            label="Example prompts, one a line", max_length=8000, lines=3, max_lines=16, elem_id="card-examples"
        )
        self.licence = gr.Textbox(label="Licence of adapter and data", max_length=100, lines=1, elem_id="card-licence")
        with gr.Row():
            self.add = gr.Button("Add to the experts", variant="primary", elem_id="add-adapter", min_width=140)
            self.drop = gr.Button("Discard", elem_id="discard-adapter", min_width=90)

    def _wire(self, tab: gr.Tab, tabs: gr.Tabs) -> None:
        fields = [self.name, self.title, self.mark, self.slot, self.description, self.examples, self.licence]
        shown = [self.candidate, self.list, self.form, self.announce, *fields]
        menus = [self.play.router, self.play.experts]
        after = [self.cards, *menus, self.removing, self.announce, *shown[:3], self.files, self.source]
        one: dict[str, Any] = {**PRIVATE, "concurrency_id": "experts", "concurrency_limit": 1}
        asked = [self.files, self.source, self.password, self.candidate]
        self.check.click(self.look, asked, shown, **one)
        self.source.submit(self.look, asked, shown, **one)
        self.add.click(guarded(self.join), [self.candidate, self.password, *fields], after, **one)
        self.drop.click(guarded(self.forget), self.candidate, shown[:4], **PRIVATE)
        self.remove.click(self.leave, [self.leaving, self.password], after, **one)
        self.stay.click(lambda: gr.Row(visible=False), None, self.removing, **PRIVATE)
        tab.select(guarded(self.cards_html), None, self.cards, **PRIVATE)

        def pressed(router: Any, event: gr.EventData) -> dict[Any, Any]:
            return self.pressed(pressed_id(event), router, tabs)

        tried = [self.play.prompt, self.play.experts, self.play.router, tabs]
        told = [*tried, self.removing, self.question, self.leaving]
        self.cards.select(guarded(pressed), self.play.router, told, **PRIVATE)

    def _address(self) -> str:
        return asking_address(self.runtime.settings)

    def cards_html(self) -> str:
        """Return the cards as they are now. Files are hashed only when the models are there, not before first paint."""
        runtime = self.runtime
        use = runs.use_by_day(runtime)
        return experts_html(runtime.pool.experts, experts.facts(runtime), use=use, can_remove=self.is_open)

    def pressed(self, what: str, router: Any, tabs: gr.Tabs) -> dict[Any, Any]:
        """Send a pressed example to the Playground, for its expert alone. Ask before removing an expert."""
        pool = self.runtime.pool
        if not what.startswith("remove/"):
            expert = pool.experts[pool.index(what.partition(":")[0])]
            if not expert.ready:
                raise InvalidRequest(f"{expert.title} is not ready: {expert.reason}.", "Try another expert.")
            gr.Info(escape(f"Only {expert.title} can answer now. Press “use all” to allow every expert again."))
            return {
                self.play.prompt: experts.example_prompt(pool, what),
                self.play.experts: json.dumps([expert.name]),
                self.play.router: serving_router(self.runtime, router),
                tabs: gr.Tabs(selected="play"),
            }
        expert = pool.experts[pool.index(what.removeprefix("remove/"))]
        sentence = f"Remove {expert.title}? Its files are deleted. Runs and labels stay."
        return {
            self.removing: gr.Row(visible=True),
            self.question: f"<p>{escape(sentence)}</p>",
            self.leaving: expert.name,
        }

    def look(self, files: list[str] | None, source: str, password: str, held: Any) -> Iterator[dict[Any, Any]]:
        """Check the given adapter. When nothing failed, show its card, filled in as far as it is known."""
        hidden = gr.Column(visible=False)
        yield {self.list: working_html("Checking …"), self.form: hidden, self.announce: "Checking the adapter."}

        def failed(message: str, remedy: str) -> dict[Any, Any]:
            sentence = f"{message} {remedy}".strip()
            return {self.list: working_html(sentence), self.form: hidden, self.announce: sentence}

        yield from ended(self._looked(files, source, password, held), failed)

    def _looked(self, files: list[str] | None, source: str, password: str, held: Any) -> Iterator[dict[Any, Any]]:
        require_admin(self.runtime.settings, password, address=self._address())
        _forget(held)
        given = [Path(file) for file in files] if files else str(source or "")
        candidate = experts.check(self.runtime, given, password, address=self._address())
        failure, card = candidate.checklist.failure, candidate.card
        sentence = (
            "The adapter fits. Fill in its card and add it."
            if failure is None
            else f"The adapter cannot be added: {failure.detail}"
        )
        if failure is not None:
            discard(candidate)
        yield {
            self.candidate: candidate if failure is None else None,
            self.list: checklist_html(candidate.checklist, candidate.label),
            self.form: gr.Column(visible=failure is None),
            self.announce: sentence,
            self.name: card.name,
            self.title: card.title,
            self.mark: card.mark,
            self.slot: card.slot,
            self.description: card.description,
            self.examples: "\n".join(" ".join(example.split()) for example in card.examples),
            self.licence: card.licence,
        }

    def join(self, candidate: Any, password: str, name: str, title: str, *rest: Any) -> dict[Any, Any]:
        """Add the candidate with the card that was filled in."""
        require_admin(self.runtime.settings, password, address=self._address())
        if not isinstance(candidate, Candidate):
            raise InvalidRequest("The checked adapter is no longer here.", "Check the adapter again.")
        mark, slot, description, examples, licence = rest
        card = card_from(
            candidate.card,
            name=name,
            title=title,
            mark=mark,
            slot=slot,
            description=description,
            examples=str(examples or "").splitlines(),
            licence=licence,
        )
        expert = experts.add(self.runtime, candidate, card, password, address=self._address())
        return self._changed(f"{expert.title} was added. The next run can use it.")

    def _changed(self, sentence: str) -> dict[Any, Any]:
        gr.Info(escape(sentence), duration=4)
        return {
            self.cards: self.cards_html(),
            **self.play.menus(),
            self.removing: gr.Row(visible=False),
            self.candidate: None,
            self.list: "",
            self.form: gr.Column(visible=False),
            self.files: None,
            self.source: "",
            self.announce: sentence,
        }

    def forget(self, candidate: Any) -> dict[Any, Any]:
        """Delete the files of the checked adapter."""
        _forget(candidate)
        return {self.candidate: None, self.list: "", self.form: gr.Column(visible=False), self.announce: "Discarded."}

    def leave(self, name: str, password: str) -> Iterator[dict[Any, Any]]:
        """Remove an added expert, as soon as no run is under way."""
        waiting = "Waiting for the current runs to end …"
        yield {self.removing: gr.Row(visible=True), self.announce: waiting}

        def failed(message: str, remedy: str) -> dict[Any, Any]:
            sentence = f"{message} {remedy}".strip()
            gr.Warning(escape(sentence), duration=8)
            return {self.removing: gr.Row(visible=False), self.announce: sentence}

        def left() -> Iterator[dict[Any, Any]]:
            expert = experts.remove(self.runtime, str(name), password, address=self._address())
            yield self._changed(f"{expert.title} was removed.")

        yield from ended(left(), failed)


def _forget(candidate: Any) -> None:
    if isinstance(candidate, Candidate):
        discard(candidate)
