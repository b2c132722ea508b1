"""How the modules reach the page: late, once, under a prefix, in a frame; and what the elements draw."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from playground.settings import ROOT

pytestmark = [pytest.mark.timeout(120), pytest.mark.browser]

PAYLOAD = "<img src=x onerror='window.__xss=1'>"
MADE = """markup => {
  const box = document.createElement('div');
  box.id = 'made';
  box.innerHTML = markup;
  document.body.append(box);
}"""


@pytest.fixture(scope="module")
def framed(scripted_page: tuple[str, Any]) -> Iterator[str]:
    """The address of a page of another server, which shows ours in a frame, below a path of its own."""
    import gradio as gr  # noqa: PLC0415  gradio takes seconds: only when a browser test runs
    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415
    from fastapi.responses import HTMLResponse  # noqa: PLC0415

    from playground.ui.page import build, launch_options  # noqa: PLC0415

    runtime = scripted_page[1]
    app = FastAPI()
    options = launch_options(runtime)
    given = {name: options[name] for name in ("theme", "head", "app_kwargs", "footer_links", "run_history", "ssr_mode")}

    @app.get("/frame")
    def frame() -> HTMLResponse:
        return HTMLResponse('<title>x</title><iframe src="/below/this/" style="width:1300px;height:800px"></iframe>')

    gr.mount_gradio_app(app, build(runtime), path="/below/this", **given)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/frame"
    server.should_exit = True
    thread.join(20)


def test_components_wait_for_late_modules_and_keys_act_once(browser: Any, scripted_page: tuple[str, Any]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def late(route: Any) -> None:
        time.sleep(2)
        route.continue_()

    page.route("**/page/main.js", late)
    page.goto(scripted_page[0])
    page.wait_for_selector("#run")
    assert page.evaluate("Array.isArray(window.Playground?.waiting ?? [])")
    page.wait_for_selector("#router select option[value=knn]", state="attached")
    page.locator("h1").click()
    page.keyboard.press("?")  # two listeners would open and close it
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog").count() == 1
    modules = [url for url in asked if "/browser-modules/" in url]
    assert len(modules) == len(set(modules)) > 20
    assert not [url for url in asked if str(ROOT) in url or ("127.0.0.1" not in url and not url.startswith("data:"))]
    page.close()


def test_the_page_works_below_a_path_and_in_a_frame(browser: Any, framed: str) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    bad: list[str] = []
    page.on("response", lambda answer: bad.append(answer.url) if answer.status >= 400 else None)
    page.goto(framed)
    frame = page.frame_locator("iframe")
    frame.locator("#prompt textarea").fill("In a frame")
    frame.locator("#router select").select_option("lora_mixer")
    frame.locator("#run").click()
    frame.locator("#run-view .run[data-state=over] .asked", has_text="In a frame").wait_for()
    assert frame.locator("#run-view .answer .tok").count() > 20
    assert [url for url in bad if "browser-modules" in url] == []
    page.close()


def test_elements_are_drawn_again_when_the_framework_empties_or_changes_them(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    from playground.ui.palette import Look  # noqa: PLC0415
    from playground.ui.views.named import chip, daily_use, weight_bars  # noqa: PLC0415

    page = open_page(scripted_page[0])
    page.wait_for_selector("#router select option[value=knn]", state="attached")
    hostile, plain = Look("a", PAYLOAD, "<b>", 1, "lora"), Look("b", "Base model", "B", -1, "base")
    use = {"days": ["01 Mar", "02 Mar"], "shares": [0, 0.75], "runs": [0, 2], "highest": 1, "overall": 0.5}
    page.evaluate(MADE, chip(hostile) + weight_bars([hostile, plain], [2 / 3, 1 / 3], [0, 1]) + daily_use(1, **use))
    made = page.locator("#made")
    assert made.locator("expert-chip").inner_text() == f"<b> {PAYLOAD}"
    assert made.locator("weight-bars .pct").all_inner_texts() == ["67%", "33%"]
    assert made.locator("weight-bars .fill").nth(1).get_attribute("style") == "width: 33.3%;"
    words = "Share of use by day (UTC): 01 Mar no runs; 02 Mar 75% of 2 runs. A full bar is 100%."
    assert made.get_by_role("img").get_attribute("aria-label") == words
    assert "50% in 2 days" in made.inner_text()
    page.evaluate("document.querySelector('#made expert-chip').replaceChildren()")
    page.evaluate("document.querySelector('#made expert-chip').dataset.mark = 'Zz'")
    assert made.locator("expert-chip .x").inner_text() == "Zz"
    assert made.locator("img").count() == 0
    assert page.evaluate("window.__xss") is None
