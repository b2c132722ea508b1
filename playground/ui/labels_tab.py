"""The Labels tab: every vote in force, newest first, with filters, undo and export. A row opens its comparison."""

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import export, identity, vote
from playground.actions.deletion import delete_of, delete_own
from playground.core.records import LabelRow
from playground.errors import InvalidRequest, PlaygroundError
from playground.ui import parts
from playground.ui.boards_tab import BoardsTab
from playground.ui.browser_values import pressed_id
from playground.ui.failures import guarded, words_of
from playground.ui.views.labels import labels_html
from playground.ui.visitors import asking_address

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime
    from playground.ui.compare_tab import CompareTab

TABLE = (
    '<div class="labels-box"><div class="labels-tools">'
    '<span class="exports" role="group" aria-label="Export these labels">'
    '{buttons}</span></div><p class="hint export-note" role="status"></p><div class="rows"></div></div>'
)
EXPORT = '<button type="button" class="quiet" data-export="{kind}">export {title}</button>'
DELETION = (
    '<p class="hint">Your votes, reasons, and the prompts and answers that are yours alone are deleted from the '
    "database, the traces and the router versions. What somebody else judged or asked stays. Exports and backups that "
    "were made before are out of reach. It cannot be undone.</p>"
)
VERDICTS = [
    ("all verdicts", "all"),
    ("A better", "a"),
    ("tie", "tie"),
    ("B better", "b"),
    ("both bad", "bad"),
    ("skip", "skip"),
]
SOURCES = [("all sources", "all"), ("people", "human"), ("judge", "judge"), ("import", "import")]


class LabelsTab:
    """The tab's components and callbacks."""

    def __init__(self, runtime: "Runtime", handle: gr.BrowserState, tabs: gr.Tabs, compare: "CompareTab") -> None:
        self.runtime = runtime
        self.handle = handle
        with gr.Tabs(elem_id="labels-parts"):
            with gr.Tab("Votes", id="votes"):
                self._draw_votes()
            with gr.Tab("Boards", id="boards") as page:
                self.boards = BoardsTab(runtime, tabs, page)
        self._wire(tabs, compare)

    def _draw_votes(self) -> None:
        runtime = self.runtime
        experts = [("all experts", "all"), *((expert.title, expert.name) for expert in runtime.pool.experts)]
        with gr.Row(elem_id="label-filters"):
            verdict = gr.Dropdown(VERDICTS, value="all", label="verdict", min_width=120, elem_id="label-verdict")
            expert = gr.Dropdown(experts, value="all", label="expert", min_width=120)
            source = gr.Dropdown(SOURCES, value="all", label="source", min_width=120)
            text = gr.Textbox(label="search prompts", max_length=200, min_width=160, elem_id="label-text")
        buttons = [
            EXPORT.format(kind=ending.removeprefix("."), title=escape(title))
            for ending, title in export.label_formats()
        ]
        table = TABLE.format(buttons="".join(buttons))
        self.table = parts.drawn("labels", "", table, elem_id="labels", functions=[self._exporter()], asked={})
        self.filters: list[Any] = [verdict, expert, source, text]
        with gr.Accordion("Delete my labels", open=False, elem_id="delete-labels"):
            parts.markup(DELETION, elem_id="delete-words")
            self.sure = gr.Checkbox(False, label="Yes, delete everything I gave.", elem_id="delete-sure")
            self.delete = gr.Button("Delete my labels", variant="stop", size="sm", elem_id="delete-own")
            with gr.Group(visible=bool(runtime.settings.admin_password)):
                self.who = gr.Textbox(
                    label="or those of this labeller (host only)", max_length=64, elem_id="delete-who"
                )
                self.password = gr.Textbox(label="Admin password", type="password", max_length=200)

    def _wire(self, tabs: gr.Tabs, compare: "CompareTab") -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked = [self.handle, *self.filters]
        for control in self.filters:
            control.change(guarded(self.refresh), asked, self.table, **quiet)
        taken_back = self.table.input(guarded(self.undo), self.handle, None, **quiet)
        taken_back.then(guarded(self.refresh), asked, self.table, **quiet)

        given = [self.handle, self.sure, self.who, self.password]
        gone = self.delete.click(guarded(self.erase), given, [self.sure, self.who, self.password], **quiet)
        gone.then(guarded(self.refresh), asked, self.table, **quiet)

        def reopen(kept: Any, before: Any, event: gr.EventData) -> dict[Any, Any]:
            wanted = pressed_id(event)
            there = {tabs: gr.Tabs(selected="compare")}
            return there if wanted == "compare" else compare.opened(wanted, kept, before) | there

        self.table.select(guarded(reopen), [self.handle, compare.token], [*compare.reopened, tabs], **quiet)

    def rows(self, filters: dict[str, Any], handle: str) -> tuple[list[LabelRow], int]:
        """Return (labels that this visitor may read and that pass the filters, how many there are without filters)."""
        rows = vote.newest_labels(self.runtime, handle)
        return vote.filtered(rows, filters), len(rows)

    def refresh(self, kept: Any, *values: Any) -> gr.HTML:
        """Return the table under the filters."""
        filters = dict(zip(("verdict", "expert", "source", "text"), values, strict=True))
        handle = identity.handle_of(kept)
        rows, total = self.rows(filters, handle)
        mine = vote.labeller_of(self.runtime, handle)
        all_shown = self.runtime.settings.shows_labels
        drawn = labels_html(rows, self.runtime.pool, mine=mine, total=total, are_all_shown=all_shown)
        return gr.HTML(value=drawn, asked=filters | {"handle": handle})

    def undo(self, kept: Any, event: gr.EventData) -> None:
        """Take back the pressed vote, if it is the visitor's own."""
        vote.undo_label(self.runtime, pressed_id(event), identity.handle_of(kept))

    def erase(self, kept: Any, is_sure: bool, who: str, password: str) -> dict[Any, Any]:
        """Delete the visitor's own labels, or with the host's password those of somebody."""
        if not is_sure:
            raise InvalidRequest("Nothing was deleted.", "Tick the box first. It cannot be undone.")
        if who.strip():
            done = delete_of(self.runtime, who, password=password, address=asking_address(self.runtime.settings))
        else:
            done = delete_own(self.runtime, identity.handle_of(kept))
        gr.Info(escape(done.sentence), duration=10)
        return {self.sure: False, self.who: "", self.password: ""}

    def _exporter(self) -> Any:
        def export_rows(asked: Any) -> dict[str, str]:
            """Return the filtered labels as a file in base64; the filter comes from a browser."""
            try:
                filters = {str(name): value for name, value in (asked.get("filters") or {}).items()}
                rows, _ = self.rows(filters, identity.handle_of(filters.pop("handle", None)))
                name = f"labels.{asked.get('kind')}"
                return {"base64": base64.b64encode(export.export_labels(rows, name)).decode(), "name": name}
            except AttributeError:
                return {"error": "No format was chosen. Choose one."}
            except PlaygroundError as error:
                return {"error": words_of(error)}

        return export_rows
