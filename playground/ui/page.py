"""The whole page: header, tabs, timers, and the function that serves it. It has no logic of its own."""

import signal
import threading
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.middleware import Middleware

from playground.actions import database, identity
from playground.errors import InvalidRequest, PlaygroundError
from playground.settings import LOOPBACK
from playground.ui import parts, readiness
from playground.ui.about_tab import AboutTab
from playground.ui.assets import STATIC, module_route, page_head
from playground.ui.brief_log import keep_log_brief
from playground.ui.compare_tab import CompareTab
from playground.ui.endpoints import add_endpoints
from playground.ui.experts_tab import ExpertsTab
from playground.ui.failures import HANDLERS, guarded, words_of
from playground.ui.fair_queue import WORKERS, FairQueue, Shares
from playground.ui.finetune_tab import FineTuneTab
from playground.ui.guard import DIRECT_LIMIT, Guard
from playground.ui.labels_tab import LabelsTab
from playground.ui.light_session import keep_sessions_light
from playground.ui.playground_tab import PlaygroundTab, own_runs
from playground.ui.theme import page_theme
from playground.ui.visitors import OpenPages

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

HEADER = (
    '<div class="top"><h1>Routing playground</h1>'
    '<span class="status" data-phase="starting"><i></i><span class="status-text">starting</span>'
    '<span class="status-bar" hidden><i></i></span></span><span class="storage"></span>'
    '<span class="top-buttons"><button type="button" class="quiet theme" title="light or dark">◐ theme</button>'
    '<button type="button" class="quiet keys" title="keys and help">? help</button></span></div>'
)
UNSEEN_SECONDS = 3.0  # the longest that loading waits for a first visitor
# gradio 6.31 has no words for the button that adds a file to those chosen: its label was "common.upload"
MISSING_WORDS = {"common.upload": "Upload more files"}
PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(runtime: "Runtime", pages: OpenPages | None = None) -> gr.Blocks:
    """Return the page over `runtime`, which may still be loading. `Guard` knows which `pages` are open."""
    title = "Routing playground"
    with gr.Blocks(title=title, fill_width=True, delete_cache=(600, 7200), analytics_enabled=False) as demo:
        add_endpoints(runtime)  # first, so that no callback of the page takes one of their names
        handle = gr.BrowserState(None, storage_key=identity.STORAGE_KEY, secret="visitor-v1")  # stable, not secret
        header = parts.drawn("header", readiness.header_value(runtime), HEADER, elem_id="top")
        timer = gr.Timer(0.5)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Playground", id="play"):
                play = PlaygroundTab(runtime, handle)
            with gr.Tab("Compare", id="compare") as compare_page:
                compare = CompareTab(runtime, handle)
            with gr.Tab("Labels", id="labels") as labels_page:
                labels = LabelsTab(runtime, handle, tabs, compare)
            with gr.Tab("Fine-tune", id="tune") as tune_page:
                tune = FineTuneTab(runtime, tabs, play)
            with gr.Tab("Experts", id="experts") as experts_page:
                experts = ExpertsTab(runtime, experts_page, tabs, play)
            with gr.Tab("About", id="about") as about_page:
                about = AboutTab(runtime)
        opened_pair = [compare.first, compare.second, compare.history, *compare.panel.changing]
        compare_page.select(guarded(compare.arrive), handle, opened_pair, **PRIVATE)
        labels_page.select(guarded(labels.refresh), [handle, *labels.filters], labels.table, **PRIVATE)
        tune_page.select(guarded(tune.arrive), [tune.router, tune.objective], tune.arrived, **PRIVATE)
        _keep_fresh(runtime, timer, header, play, experts)
        about_page.select(guarded(about.arrive), about.shown, [about.contents, about.text, about.shown], **PRIVATE)
        _on_load(runtime, demo, handle, play)
        _on_documentation(demo, tabs, about)
    settings = runtime.settings
    demo.queue(api_open=False)  # the model is only reached through the queue
    shares = Shares(settings.max_queue, settings.max_waiting)
    demo._queue = FairQueue(demo, shares, pages or OpenPages(), is_space=settings.is_space)
    return demo


def _keep_fresh(runtime: "Runtime", timer: gr.Timer, header: gr.HTML, play: PlaygroundTab, experts: ExpertsTab) -> None:
    """Update the header while models load. Once they are there, fill the menus and stop the timer."""

    def tick(router: Any) -> dict[Any, Any]:
        value: dict[Any, Any] = {header: readiness.header_value(runtime)}
        if runtime.is_ready or runtime.status.phase == "failed":
            value[timer] = gr.Timer(active=False)
            value |= play.menus() | {experts.cards: experts.cards_html()}
        if runtime.is_ready:
            value |= play.sized() | play.tune(router)
        return value

    settings = [play.tuning, *play.options.components]
    drawn = [header, timer, play.router, play.experts, play.layer, play.head, experts.cards, *settings]
    timer.tick(guarded(tick), play.router, drawn, queue=False, **PRIVATE)


def _on_load(runtime: "Runtime", demo: gr.Blocks, handle: gr.BrowserState, play: PlaygroundTab) -> None:
    """Give an arriving visitor a handle and their recent runs. Open the run of a permalink."""

    def arrive(kept: Any, request: gr.Request) -> dict[Any, Any]:
        runtime.start()  # the page has painted
        who = identity.handle_of(kept)
        value: dict[Any, Any] = {handle: who, play.recent: own_runs(runtime, who)}
        wanted = request.query_params.get("run") if request else None
        if wanted:
            try:
                value |= play.open(wanted)
            except PlaygroundError as error:  # the visitor still gets the page
                gr.Warning(escape(words_of(error)), duration=8)
        return value

    demo.load(guarded(arrive), handle, [handle, play.recent, play.view, play.last, play.override], **PRIVATE)


def _on_documentation(demo: gr.Blocks, tabs: gr.Tabs, about: AboutTab) -> None:
    """Open the page of the documentation that the address names: `?about=glossary.md`."""

    def arrive(request: gr.Request) -> dict[Any, Any]:
        wanted = request.query_params.get("about") if request else None
        return about.opened(str(wanted)) | {tabs: gr.Tabs(selected="about")} if wanted else {about.shown: gr.skip()}

    demo.load(guarded(arrive), None, [about.contents, about.text, about.shown, tabs], **PRIVATE)


def launch_options(runtime: "Runtime", pages: OpenPages | None = None) -> dict[str, Any]:
    """Return how the page is served: our own head and icon, guarded, nothing recorded, nothing from another host."""
    guard = Middleware(Guard, settings=runtime.settings, pages=pages or OpenPages())
    return {
        "theme": page_theme(),
        "head": page_head(),
        "i18n": gr.I18n(en=MISSING_WORDS),
        "app_kwargs": {"routes": [module_route()], "middleware": [guard], "exception_handlers": HANDLERS},
        "max_threads": WORKERS + DIRECT_LIMIT,
        "favicon_path": str(STATIC / "icon.svg"),
        "footer_links": [],
        "run_history": False,
        "max_file_size": f"{runtime.settings.max_adapter_mb}mb",
        "root_path": runtime.settings.root_path or None,
        "state_session_capacity": 500,
        "ssr_mode": False,
        "show_error": True,
        "quiet": True,
    }


def serve(
    runtime: "Runtime", *, host: str | None = None, port: int | None = None, block: bool = True
) -> tuple[gr.Blocks, str]:
    """Serve the page, then start loading models. Return (blocks, address) when `block` is false.

    Loading starts when the first visitor's page has painted, or soon after if nobody comes. Both need the processor,
    and the page goes first. When loading began at once, first paint took 5.8 s: see docs/results/first-paint.md.

    Raise InvalidRequest when the address or the port is not free.
    """
    settings = runtime.settings
    keep_log_brief()
    keep_sessions_light()
    pages = OpenPages()
    demo = build(runtime, pages)
    where: dict[str, Any] = {}
    if not settings.is_space:
        where = {"server_name": host or settings.host, "server_port": settings.port if port is None else port}
        where["server_port"] = where["server_port"] or None
        if where["server_name"] in LOOPBACK:
            # leave a processor to the browser on this machine: a matrix product waits for its slowest thread
            runtime.spare = 1
    try:
        _, address, _ = demo.launch(prevent_thread_lock=True, **where, **launch_options(runtime, pages))
    except OSError as error:
        if not where:
            raise
        message = f"The page cannot listen at {where['server_name']}, port {where['server_port']}."
        remedy = "Stop the program that uses the port, or set another PLAYGROUND_HOST or PLAYGROUND_PORT."
        raise InvalidRequest(message, remedy) from error
    print(f"Routing playground: {address}", flush=True)
    unseen = threading.Timer(UNSEEN_SECONDS, runtime.start)
    unseen.daemon = True
    unseen.start()
    keeping = (runtime.database, settings.keep_runs_days)
    threading.Thread(target=database.prune_daily, args=keeping, name="retention", daemon=True).start()
    if block:
        _block(demo, runtime)
    return demo, address


def _block(demo: gr.Blocks, runtime: "Runtime") -> None:
    """Serve until Ctrl-C or SIGTERM, with which machines end a program. Then close everything."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        demo.block_thread()
    finally:
        demo.close()
        runtime.close()
