"""A browser and two pages: one over a scripted runtime (fast), one over the real models (session-wide)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, Playwright's own or the system's."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: see tests/requirements.txt"
    )
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        found = own if own.exists() else CHROMIUM
        if not found.exists():
            pytest.skip("Chromium is missing: install it, or run `playwright install chromium`")
        chromium = driver.chromium.launch(executable_path=str(found), args=ARGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def scripted_page() -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page over the scripted runtime."""
    from playground.ui.page import serve  # noqa: PLC0415  gradio takes seconds: only when a browser test runs
    from tests.scripted import scripted  # noqa: PLC0415  as above

    with tempfile.TemporaryDirectory() as folder:
        runtime = scripted(Path(folder), delay=0.01)
        demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
        yield address, runtime
        demo.close()


class Watched:
    """A page and everything that should not happen on it: foreign requests, script errors, console errors."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.bad: list[str] = []
        self.page.on("pageerror", lambda error: self.bad.append(f"script: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.goto(address)

    def _console(self, said: Any) -> None:
        # the framework's own client says this when a page is left while it still reads a stream
        if said.type == "error" and not said.text.startswith("AbortError: signal is aborted"):
            self.bad.append(f"console: {said.text}")

    def _request(self, request: Any) -> None:
        if "127.0.0.1" not in request.url and not request.url.startswith(("data:", "blob:")):
            self.bad.append(f"foreign: {request.url}")


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens an address in a fresh context; fails at the end when anything bad was seen."""
    contexts, pages = [], []

    def opened(address: str, *, width: int = 1400, height: int = 900, theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        contexts.append(context)
        watched = Watched(context, f"{address}?__theme={theme}")
        pages.append(watched)
        watched.page.wait_for_selector("#run")
        watched.page.wait_for_function("() => window.Playground?.view('run')")  # the modules are there
        return watched.page

    yield opened
    for context in contexts:
        context.close()
    assert [bad for watched in pages for bad in watched.bad] == []
