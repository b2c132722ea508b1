"""The Compare tab: two answers side by side without names, one verdict, then who they were."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from html import escape, unescape
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import ask, collecting, compare, identity, vote
from playground.actions.compare import OpenComparison, OpenComparisons
from playground.core.events import TokenGenerated
from playground.core.fold import ending
from playground.core.preferences import Verdict
from playground.errors import InvalidRequest
from playground.ui import parts, readiness, wire
from playground.ui.browser_values import pressed_id
from playground.ui.collecting_panel import CollectingPanel
from playground.ui.failures import ended, guarded, words_of
from playground.ui.fair_queue import MODEL
from playground.ui.hidden_pair import replayed
from playground.ui.kept_pair import kept_pair, pair_to_keep
from playground.ui.stream import UPDATE_SECONDS
from playground.ui.turns import Turn, Turns
from playground.ui.views import compare as pictures

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

STORE_SECONDS = 5.0  # how long a reloaded page waits until the comparison of before is stored
LAST_SECONDS = 2.0  # how long a comparison waits for the end of the one before on the same page
GUIDE = "Read both answers, then say which is better. Names, weights and times are shown after the vote."


class CompareTab:
    """The tab's components and callbacks. What must stay blind is kept on the server, in `OpenComparisons`."""

    def __init__(self, runtime: "Runtime", handle: gr.BrowserState) -> None:
        self.runtime = runtime
        self.handle = handle
        self.open = OpenComparisons()
        self.turns = Turns()
        self.token = gr.State("", time_to_live=7200)
        with gr.Row(elem_id="pair"):
            with gr.Column(scale=0, min_width=320, elem_id="pair-controls"):
                self._draw_question()
            with gr.Column(scale=1, min_width=320, elem_id="pair-answers"):
                self.panel = CollectingPanel(runtime, handle)
                self._draw_answers()
                self._draw_verdicts()
                self._draw_after()
        self._wire()

    def _draw_question(self) -> None:
        self.prompt = gr.Textbox(
            label="Prompt",
            placeholder="Ask both a question, or leave this empty and we pick one.",
            lines=3,
            max_lines=10,
            max_length=self.runtime.settings.max_prompt_chars,
            elem_id="pair-prompt",
        )
        with gr.Accordion("Who answers", open=False, elem_id="pair-who"):
            choices = compare.contenders(self.runtime)
            self.first = gr.Dropdown(choices, value=compare.RANDOM_PAIR, label="one side", elem_id="pair-first")
            self.second = gr.Dropdown(choices, value=compare.RANDOM_PAIR, label="the other side", elem_id="pair-second")
            gr.Markdown("A and B are shuffled.", elem_classes="hint")
            longest = "longest answer (tokens)"
            tokens = compare.DEFAULTS.max_new_tokens
            self.length = gr.Slider(8, 512, value=tokens, step=8, label=longest, elem_id="pair-tokens")
        with gr.Row(elem_id="pair-actions"):
            self.run = gr.Button("Compare  Ctrl+⏎", variant="primary", elem_id="pair-run")
        with gr.Accordion("Your last votes", open=True, elem_id="pair-history"):
            self.history = parts.pressable(pictures.votes_html([], self.runtime.pool), elem_id="pair-votes")

    def _draw_answers(self) -> None:
        self.state = parts.markup(f'<p class="pair-state">{GUIDE}</p>', elem_id="pair-state")
        with gr.Row(elem_id="sides", equal_height=True):
            self.left = parts.drawn(
                "side-a", "", pictures.SIDE.format(letter="A"), elem_id="side-a", min_width=260, scale=1
            )
            self.right = parts.drawn(
                "side-b", "", pictures.SIDE.format(letter="B"), elem_id="side-b", min_width=260, scale=1
            )

    def _draw_verdicts(self) -> None:
        self.buttons: dict[Verdict, gr.Button] = {}
        with gr.Row(elem_id="verdicts"):
            for verdict in (one for one in Verdict if not one.is_apart):
                self.buttons[verdict] = self._button(verdict)
        with gr.Row(elem_id="verdicts-apart"):
            for verdict in (one for one in Verdict if one.is_apart):
                self.buttons[verdict] = self._button(verdict)
            self.undo = gr.Button("Undo  u", elem_id="vote-undo", interactive=False, size="sm", min_width=90)
            self.next = gr.Button("Next  n", elem_id="vote-next", size="sm", min_width=90)

    def _button(self, verdict: Verdict) -> gr.Button:
        words = f"{verdict.button}  {verdict.key} {verdict.arrow}".strip()
        on = verdict.is_on(self.runtime.settings.vote_scale)
        shown: dict[str, Any] = {"visible": on, "size": "sm", "min_width": 90}
        return gr.Button(words, elem_id=f"vote-{verdict.key}", interactive=False, **shown)

    def _draw_after(self) -> None:
        self.reveal = parts.markup("", elem_id="reveal")
        with gr.Group(visible=False, elem_id="reasons") as self.reasons:
            self.tags = gr.CheckboxGroup(list(vote.REASONS), label="Why? (optional)", elem_id="reason-tags")
            self.note = gr.Textbox(label="In your words", max_length=2000, lines=1, elem_id="reason-text")
            self.aspects = self.panel.draw_aspects()
            self.keep = gr.Button("Save the reason", size="sm", elem_id="reason-save")
        self.announce = parts.announcer("pair-status")
        self.shown = parts.feed("pair-kept", elem_id="pair-kept")  # the browser keeps its value over a reload

    def arrive(self, kept: Any) -> dict[Any, Any]:
        """Return what the tab shows when it is opened: its menus, filled once models are loaded, and the last votes."""
        choices = compare.contenders(self.runtime)
        menus = {self.first: gr.Dropdown(choices=choices), self.second: gr.Dropdown(choices=choices)}
        handle = identity.handle_of(kept)
        return menus | {self.history: self.own_votes(handle)} | self.panel.shown(handle)

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        limit = self.runtime.settings.max_batch
        model: dict[str, Any] = {**quiet, "concurrency_id": MODEL, "concurrency_limit": limit}
        asked = [self.handle, self.prompt, self.first, self.second, self.length, self.token]
        shown = [self.token, self.prompt, self.left, self.right, self.state, self.announce, self.reveal, self.reasons]
        every = [*shown, self.shown, self.undo, *self.buttons.values()]
        self.reopened = every
        self.run.click(self.compare, asked, every, trigger_mode="multiple", **model)
        self.next.click(self.compare_next, asked, every, trigger_mode="multiple", **model)
        self.shown.input(guarded(self.restore), [self.handle, self.token], every, **quiet)
        page = [self.token, self.handle, self.shown]
        after = [self.state, self.reveal, self.reasons, self.tags, self.note, self.undo, self.announce, self.history]
        changed = [*after, *self.aspects, *self.panel.changing, self.shown, *self.buttons.values()]
        for verdict, button in self.buttons.items():
            button.click(self._saying(self._voter(verdict)), page, changed, queue=False, **quiet)
        self.undo.click(self._saying(self.take_back), page, changed, queue=False, **quiet)
        reasons = [self.tags, self.note, *self.aspects]
        self.keep.click(guarded(self.explain), [*page, *reasons], self.announce, **quiet)
        self.panel.wire(self, changed, quiet)
        self.history.select(guarded(self.reopen), [self.handle, self.token], every, **quiet)

    def _saying(self, callback: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
        """Return `callback` with its failure as a sentence in the tab: events that skip the queue show no toast."""

        def call(*values: Any) -> dict[Any, Any]:
            def once() -> Iterator[dict[Any, Any]]:
                yield callback(*values)

            return next(ended(once(), lambda *trouble: self.said(escape(" ".join(trouble)))))

        return call

    def enabled(self, on: bool) -> dict[Any, Any]:
        """Return updates that switch every verdict button on or off."""
        return {button: gr.Button(interactive=on) for button in self.buttons.values()}

    def said(self, text: str) -> dict[Any, Any]:
        """Return updates that show and speak one sentence, which must be ours or escaped."""
        return {self.state: f'<p class="pair-state">{text}</p>', self.announce: unescape(text)}

    def compare_next(self, *values: Any) -> Iterator[dict[Any, Any]]:
        """Compare answers to a prompt that the page picks."""
        yield from self.compare(values[0], "", *values[2:])

    def compare(self, *values: Any) -> Iterator[dict[Any, Any]]:
        """Stream two answers side by side, and enable the verdicts when both can be judged.

        The comparison before on this page ends.
        """
        kept, prompt, first, second, length, before = values
        try:
            compare.require_different(str(first), str(second))
        except InvalidRequest as error:  # what is shown stays, and can still be judged
            yield self.said(escape(words_of(error)))
            return
        turn = self.turns.begin(before, patience_s=LAST_SECONDS)
        try:
            yield from self._one(turn, kept, str(prompt or "").strip(), (first, second, length))
        finally:
            turn.done.set()

    def _one(self, turn: Turn, kept: Any, prompt: str, wanted: tuple[Any, Any, Any]) -> Iterator[dict[Any, Any]]:
        found = None if prompt else collecting.hidden(self.runtime, identity.handle_of(kept))
        if found is not None:  # a repeat or a known answer, which looks like any other comparison
            yield from replayed(self, turn, found)
            return
        blank = wire.opening(secrets.token_hex(4))
        fresh = {self.left: blank, self.right: blank, self.reveal: "", self.reasons: gr.Group(visible=False)}
        text = prompt or collecting.next_prompt(self.runtime)
        off = self.enabled(False) | {self.undo: gr.Button(interactive=False)}
        asked = {self.prompt: text, self.token: turn.token, self.shown: pair_to_keep("", text)}
        yield fresh | off | self.said("") | asked

        def failed(message: str, remedy: str) -> dict[Any, Any]:
            if turn.left.is_set():
                return {self.token: gr.skip()}
            # a nonce of its own: the browser ignores a stream that another one has replaced
            lines = wire.opening(secrets.token_hex(4)) + wire.record(wire.FailedLine(message=message, remedy=remedy))
            said = self.said("There is nothing to judge. Press Next.")
            return {self.left: lines, self.right: lines} | self.enabled(False) | said

        yield from ended(self._compare(turn, blank, kept, text, wanted), failed)
        if turn.left.is_set():
            yield {self.token: gr.skip()}  # the framework repeats the last update at the end

    def _compare(
        self, turn: Turn, blank: str, kept: Any, prompt: str, wanted: tuple[Any, Any, Any]
    ) -> Iterator[dict[Any, Any]]:
        for waiting in readiness.until_ready(self.runtime, turn.left):
            blank += waiting
            yield {self.left: blank, self.right: blank}
        if turn.left.is_set():
            return
        checked, notice = ask.checked_prompt(prompt, self.runtime.settings.max_prompt_chars)
        first, second, tokens = wanted
        opened = compare.open_comparison(self.runtime, checked, str(first), str(second), tokens=tokens)
        opened.token, opened.left = turn.token, turn.left
        self.open.add(opened)
        yield self.enabled(False) | self.said(notice or "Answering …") | self.remembered(opened)
        yield from self._watch(opened, identity.session_of(identity.handle_of(kept)))

    def _watch(self, opened: OpenComparison, session_id: str) -> Iterator[dict[Any, Any]]:
        was_votable = False
        for left, right in self._texts(opened, session_id):
            if opened.left.is_set():
                return
            update: dict[Any, Any] = {self.left: left, self.right: right}
            if opened.is_votable and not was_votable and not opened.label_id and not opened.voted.is_set():
                was_votable = True
                update |= self.enabled(True) | self.said("Which is better? You can vote now.")
            yield update
        if opened.label_id or opened.voted.is_set():
            return
        if opened.has_failed:
            yield self.enabled(False) | self.said("One answer failed, so this pair cannot be judged. Press Next.")
        elif opened.is_same:
            yield self.enabled(True) | self.said("Both answers are the same. Vote for a tie, or press Next.")
        else:
            yield self.enabled(True) | self.said("Which is better?")

    def _texts(self, opened: OpenComparison, session_id: str) -> Iterator[tuple[str, str]]:
        """Yield the lines of both sides so far, blind, about ten times a second while tokens come."""
        nonce = secrets.token_hex(4)
        texts = [wire.opening(nonce), wire.opening(nonce)]
        shown = 0.0
        with closing(compare.decoded(self.runtime, opened, session_id)) as answers:
            for side, event in answers:
                texts[side] += wire.blind_line(event)
                now = time.monotonic()
                if not isinstance(event, TokenGenerated) or now - shown >= UPDATE_SECONDS:
                    shown = now
                    yield texts[0], texts[1]
        ends = ["" if state.is_over or not state.started else wire.blind_line(ending(state)) for state in opened.states]
        yield texts[0] + ends[0], texts[1] + ends[1]

    def _voter(self, verdict: Verdict) -> Any:
        def cast(token: Any, kept: Any, shown: Any) -> dict[Any, Any]:
            return self.cast(verdict, token, kept, shown)

        return cast

    def cast(self, verdict: Verdict, token: Any, kept: Any, shown: Any) -> dict[Any, Any]:
        """Store the verdict. Only then say that it is saved, and who answered."""
        handle = identity.handle_of(kept)
        opened = self.showing(token, shown, handle)
        collecting.cast(self.runtime, opened, verdict, handle)
        return self.voted(opened, verdict, handle) | self.panel.stored([f"{opened.id}:{opened.votes}"])

    def voted(self, opened: OpenComparison, verdict: Verdict, handle: str) -> dict[Any, Any]:
        """Return updates that show a stored vote: who answered, whether it counts, and where to say why."""
        spoken = pictures.saved_sentence(opened.states, verdict, self.runtime.pool)
        reasons = vote.SKIP_REASONS if verdict is Verdict.SKIP else vote.REASONS
        not_counted = pictures.standing_html(collecting.standing(self.runtime, opened.label_id))
        return (
            self.enabled(False)
            | self.panel.progress(handle)
            | {
                self.state: "",
                self.announce: unescape(spoken),
                self.reveal: pictures.reveal_html(opened.states, verdict, self.runtime.pool) + not_counted,
                self.reasons: gr.Group(visible=True),
                self.tags: gr.CheckboxGroup(choices=list(reasons), value=[]),
                self.note: "",
                self.undo: gr.Button(interactive=True),
                self.history: self.own_votes(handle),
            }
            | dict.fromkeys(self.aspects)
        )

    def take_back(self, token: Any, kept: Any, shown: Any) -> dict[Any, Any]:
        """Take the vote back with a new row. A vote after that is marked as given after the reveal."""
        handle = identity.handle_of(kept)
        opened = self.showing(token, shown, handle)
        vote.take_back(self.runtime, opened, handle)
        revealed = pictures.reveal_html(opened.states, None, self.runtime.pool)
        off: dict[Any, Any] = {self.undo: gr.Button(interactive=False), self.reasons: gr.Group(visible=False)}
        return (
            self.enabled(True)
            | self.said("Your vote was taken back. You can vote again.")
            | off
            | {self.reveal: revealed, self.history: self.own_votes(handle)}
            | self.remembered(opened)
            | self.panel.progress(handle)
        )

    def explain(self, token: Any, kept: Any, shown: Any, tags: list[str], note: str, *aspects: Any) -> str:
        """Store the reason and the verdicts by aspect, and say so."""
        opened = self.showing(token, shown, identity.handle_of(kept))
        vote.explain(self.runtime, opened.label_id, note or "", tags or [])
        collecting.judge_aspects(self.runtime, opened.label_id, self.panel.read_aspects(aspects))
        gr.Info("The reason is saved.", duration=3)
        return "The reason is saved."

    def own_votes(self, handle: str) -> str:
        """Return the list of this visitor's last ten votes."""
        return pictures.votes_html(vote.own_labels(self.runtime, handle), self.runtime.pool)

    def reopen(self, kept: Any, before: Any, event: gr.EventData) -> dict[Any, Any]:
        """Show the comparison of a vote again, with names. A changed vote is a new row."""
        return self.opened(pressed_id(event), kept, before)

    def opened(self, label_id: str, kept: Any, before: Any) -> dict[Any, Any]:
        """Return updates that show a stored label's comparison in place of the page's last, `before`.

        Raise InvalidRequest for an unknown label.
        """
        handle = identity.handle_of(kept)
        opened, row, is_own = vote.reopen(self.runtime, label_id, handle)
        again = self._again(opened, before)
        then = "A new vote replaces it." if is_own else "Somebody else voted here. Yours will be added."
        return (
            again
            | self.enabled(True)
            | self.said(f"This is an earlier comparison. The vote was: {row.shown_verdict.text}. {then}")
            | {self.reveal: pictures.reveal_html(opened.states, None, self.runtime.pool)}
            | {self.undo: gr.Button(interactive=is_own)}
        )

    def _again(self, opened: OpenComparison, before: Any) -> dict[Any, Any]:
        """Return updates that show a stored comparison, blind, in place of the page's last, `before`."""
        turn = self.turns.begin(before, patience_s=LAST_SECONDS)
        turn.done.set()  # nothing streams
        opened.token, opened.left = turn.token, turn.left
        self.open.add(opened)
        opening = wire.opening(opened.token[:8])
        texts = [opening + "".join(map(wire.blind_line, state.events)) for state in opened.states]
        shown = {self.token: opened.token, self.prompt: opened.prompt, self.left: texts[0], self.right: texts[1]}
        hidden = {self.reveal: "", self.reasons: gr.Group(visible=False), self.undo: gr.Button(interactive=False)}
        return shown | hidden | self.remembered(opened)

    def remembered(self, opened: OpenComparison) -> dict[Any, Any]:
        """Return the update by which the browser keeps a comparison over a reload. It says nothing about the sides."""
        return {self.shown: pair_to_keep(opened.id, opened.prompt, opened.votes)}

    def showing(self, token: Any, shown: Any, handle: str) -> OpenComparison:
        """Return the comparison that a page shows, read again when this process keeps it no more.

        Raise InvalidRequest when there is none.
        """
        found = self.open.get(token)
        if found is not None:
            return found
        wanted, _ = kept_pair(shown)
        if not wanted:
            raise InvalidRequest("This comparison is no longer open.", "Start a new one. Your votes are kept.")
        found = vote.from_store(self.runtime, wanted, handle)
        found.token = str(token or "") or f"{identity.session_of(handle)}:{wanted}"
        return self.open.add(found)

    def restore(self, kept: Any, before: Any, event: gr.EventData) -> dict[Any, Any]:
        """Return updates that show what this browser tab compared before it was reloaded, or at least its prompt."""
        wanted, prompt = kept_pair(event._data.get("kept"))
        if before:
            return {self.token: gr.skip()}  # the page shows another comparison by now
        if not wanted:
            return {self.prompt: prompt}
        running = self.open.find(wanted)
        if running is not None:
            running.done.wait(STORE_SECONDS)
        try:
            opened = vote.from_store(self.runtime, wanted, identity.handle_of(kept))
        except InvalidRequest:
            return {self.prompt: prompt} | self.said("The page was reloaded before both answers were stored.")
        if opened.label_id:
            return self.opened(opened.label_id, kept, before)
        again = self._again(opened, before) | self.enabled(opened.is_readable)
        if not opened.is_readable:
            return again | self.said("The reload stopped these answers. Press Compare to ask again.")
        return again | self.said("Which is better? These are the answers from before the reload.")
