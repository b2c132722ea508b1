"""The boards in the Labels tab: who is better by the votes, how sure that is, and what the ratings hide."""

import base64
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import boards
from playground.errors import PlaygroundError
from playground.ui import parts
from playground.ui.browser_values import pressed_id
from playground.ui.failures import guarded, words_of

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

KINDS = [("experts", "expert"), ("routers", "router"), ("router versions", "version")]
SOURCES = [(words, source) for source, words in boards.SOURCES.items()]
TABLE = (
    '<div class="labels-box"><div class="labels-tools">'
    '<span class="exports" role="group" aria-label="Export this board">'
    '<button type="button" class="quiet" data-export="csv">export CSV</button></span></div>'
    '<p class="hint export-note" role="status"></p><div class="rows"></div></div>'
)


class BoardsTab:
    """The part's components and callbacks."""

    def __init__(self, runtime: "Runtime", tabs: gr.Tabs, page: gr.Tab) -> None:
        self.runtime = runtime
        with gr.Row(elem_id="board-filters"):
            kind = gr.Dropdown(KINDS, value="expert", label="board of", min_width=120, elem_id="board-kind")
            source = gr.Dropdown(SOURCES, value="human", label="votes of", min_width=120, elem_id="board-source")
        with gr.Column(visible=False) as self.pictures:
            self.ratings = gr.Plot(show_label=False, elem_id="board-ratings")
        self.table = parts.drawn("labels", "", TABLE, elem_id="board", functions=[self._exporter()], asked={})
        with gr.Column(visible=False) as self.course:
            gr.Markdown("### Over time", elem_classes="section")
            self.times = gr.Plot(show_label=False, elem_id="board-times")
        shown = [self.pictures, self.ratings, self.table, self.course, self.times]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        for happening in (page.select, kind.change, source.change):
            happening(guarded(self.refresh), [kind, source], shown, **quiet)

        def compare(event: gr.EventData) -> gr.Tabs:
            return gr.Tabs(selected=pressed_id(event))

        self.table.select(guarded(compare), None, tabs, **quiet)

    def refresh(self, kind: str, source: str) -> dict[Any, Any]:
        """Return the board, or what is missing for one."""
        from playground.ui.views import boards as views  # noqa: PLC0415  (imports plotly: not for the first paint)

        found = boards.board(self.runtime.database, kind, source)
        asked = {"kind": kind, "source": source}
        if not boards.is_board(found):
            drawn = views.empty_html(kind, found.votes, boards.MIN_VOTES, found.excluded)
            hidden = {column: gr.Column(visible=False) for column in (self.pictures, self.course)}
            return hidden | {self.table: gr.HTML(value=drawn, asked=asked)}
        pool = self.runtime.pool
        agreement = boards.agreement(self.runtime.database, source)
        drawn = views.board_html(found, pool, boards.remarks(found), agreement)
        has_course = len(found.over_time) > 1
        return {
            self.pictures: gr.Column(visible=True),
            self.ratings: views.rating_figure(found, pool),
            self.table: gr.HTML(value=drawn, asked=asked),
            self.course: gr.Column(visible=has_course),
            self.times: views.time_figure(found, pool) if has_course else None,
        }

    def _exporter(self) -> Any:
        def export_rows(asked: Any) -> dict[str, str]:
            """Return the standings as a CSV file in base64; what is asked comes from a browser."""
            try:
                wanted = asked.get("filters") or {}
                kind, source = str(wanted.get("kind")), str(wanted.get("source"))
                found = boards.board(self.runtime.database, kind, source)
            except AttributeError:
                return {"error": "No board was chosen. Choose one."}
            except PlaygroundError as error:
                return {"error": words_of(error)}
            if not boards.is_board(found):
                return {"error": " ".join(boards.remarks(found))}
            data = base64.b64encode(boards.board_csv(found).encode()).decode()
            return {"base64": data, "name": f"board-{kind}.csv"}

        return export_rows
