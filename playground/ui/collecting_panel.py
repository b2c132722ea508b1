"""What a host's settings add to the Compare tab: notice, goal, aspects, and votes that waited in the browser."""

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import collecting, identity, vote
from playground.ui import parts
from playground.ui.failures import guarded
from playground.ui.views import compare as pictures

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime
    from playground.ui.compare_tab import CompareTab

STEPS = [("A much", 2), ("A", 1), ("same", 0), ("B", -1), ("B much", -2)]
OUTBOX = '<p class="outbox" role="status" hidden></p>'


class CollectingPanel:
    """The components above the answers. Each is shown only when the host asked for it."""

    def __init__(self, runtime: "Runtime", handle: gr.BrowserState) -> None:
        self.runtime = runtime
        self.handle = handle
        text = collecting.notice(runtime.settings)
        with gr.Group(visible=bool(text), elem_id="notice") as self.notice:
            parts.markup(f"<p>{escape(text)}</p>", elem_id="notice-text")
            self.agree = gr.Button("I agree", size="sm", elem_id="notice-agree")
        goal = runtime.settings.session_goal
        with gr.Row(visible=bool(goal), elem_id="sitting"):
            self.line = parts.markup("", elem_id="sitting-line")
            self.finish = gr.Button("Finish", size="sm", elem_id="sitting-finish", scale=0, min_width=90)
        self.outbox = parts.drawn("pair-outbox", "", OUTBOX, elem_id="pair-outbox")
        self.changing = [self.notice, self.line, self.outbox]

    def draw_aspects(self) -> list[gr.Radio]:
        """Draw a scale for each aspect that the host asks for, none chosen, and return them."""
        names = self.runtime.settings.aspects
        self.aspects = [gr.Radio(STEPS, value=None, label=name, elem_classes="aspect") for name in names]
        return self.aspects

    def read_aspects(self, values: Sequence[Any]) -> dict[str, int]:
        """Return the aspects that were judged."""
        names = self.runtime.settings.aspects
        return {name: int(value) for name, value in zip(names, values, strict=True) if value is not None}

    def wire(self, tab: "CompareTab", changed: list[Any], quiet: dict[str, Any]) -> None:
        """Connect the buttons, and the votes that the browser sends later. They change what a vote does."""
        self.agree.click(guarded(self._agreed), self.handle, self.notice, **quiet)
        self.finish.click(guarded(self._finished), self.handle, self.line, **quiet)

        def sent(kept: Any, token: Any, event: gr.EventData) -> dict[Any, Any]:
            return self._sent(tab, identity.handle_of(kept), token, event)

        self.outbox.input(guarded(sent), [self.handle, tab.token], changed, **quiet)

    def shown(self, handle: str) -> dict[Any, Any]:
        """Return what the panel shows when the tab is opened."""
        wanted = collecting.needs_consent(self.runtime, handle)
        return {self.notice: gr.Group(visible=wanted)} | self.progress(handle)

    def progress(self, handle: str) -> dict[Any, Any]:
        """Return the update of the goal's line."""
        return {self.line: pictures.progress_html(collecting.sitting(self.runtime, handle))}

    def stored(self, tokens: Sequence[str], refused: Sequence[str] = ()) -> dict[Any, Any]:
        """Return the update that tells the browser which votes it need not keep any more."""
        return {self.outbox: json.dumps({"stored": list(tokens), "refused": list(refused)})}

    def _agreed(self, kept: Any) -> gr.Group:
        collecting.agree(self.runtime, identity.handle_of(kept))
        return gr.Group(visible=False)

    def _finished(self, kept: Any) -> str:
        handle = identity.handle_of(kept)
        collecting.finish(self.runtime, handle)
        return pictures.progress_html(collecting.sitting(self.runtime, handle))

    def _sent(self, tab: "CompareTab", handle: str, token: Any, event: gr.EventData) -> dict[Any, Any]:
        votes = event._data.get("votes") if isinstance(event._data, dict) else None
        votes = [one for one in votes or [] if isinstance(one, dict) and {"id", "votes", "key"} <= set(one)]
        if collecting.needs_consent(self.runtime, handle):
            return {self.outbox: gr.skip()}  # the notice was changed meanwhile: they wait until it is agreed to
        labels, refused = collecting.cast_late(self.runtime, votes, handle)
        update = self.progress(handle) | self.stored(list(labels), refused)
        opened = tab.open.get(token)
        shown = f"{opened.id}:{opened.votes}" if opened is not None else ""
        if opened is not None and shown in labels:
            opened.label_id, opened.is_revealed = labels[shown], True
            verdict = next(one["key"] for one in votes if f"{one['id']}:{one['votes']}" == shown)
            update |= tab.voted(opened, vote.read_verdict(verdict), handle)
        elif labels:
            update |= {tab.history: tab.own_votes(handle), tab.announce: "Your vote was sent and is saved."}
        return update
