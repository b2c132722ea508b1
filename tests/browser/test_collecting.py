"""Thirty comparisons in one sitting, by keyboard and by touch, with everything that goes wrong in between."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(120), pytest.mark.browser]

GOAL = 30
READY = "() => { const b = document.querySelector('#vote-2'); return b && !b.disabled; }"
SAVED = "() => document.querySelector('#reveal .saved')"
COUNTED = "(text) => document.querySelector('#sitting-line')?.innerText.includes(text)"
LATE = "() => !document.querySelector('.outbox').hidden"
SENT = "() => document.querySelector('.outbox').hidden"


class Labeller:
    """Somebody who labels with keys alone, or with taps alone."""

    def __init__(self, page: Any, runtime: Any, *, touch: bool) -> None:
        self.page, self.touch = page, touch
        self.runtime = runtime
        self.open()

    def open(self) -> None:
        self.page.wait_for_function("() => window.Playground?.view('run')")
        if self.touch:
            self.page.get_by_role("tab", name="Compare").tap()
        else:
            for _ in range(20):  # a reloaded page may be on the tab already, or still be drawing it
                if self.page.locator("#vote-next").is_visible():
                    break
                for key in ("Escape", "g", "c"):
                    self.page.keyboard.press(key)
                self.page.wait_for_timeout(200)
        self.page.wait_for_selector("#vote-next")

    def press(self, key: str, *, twice: bool = False) -> None:
        for _ in range(2 if twice else 1):
            if self.touch:
                self.page.locator("#vote-next" if key == "n" else f"#vote-{key}").evaluate("node => node.click()")
            else:
                self.page.keyboard.press(key)

    def agree(self) -> None:
        self.act("#notice-agree")
        self.page.wait_for_selector("#notice-agree", state="hidden")

    def look_closer(self) -> None:
        """Show an answer in full screen, and all of it again."""
        self.act("#side-b .side-whole")
        self.page.wait_for_selector("#side-b .side.whole")
        self.act("#side-b .side-whole")
        self.page.wait_for_selector("#side-b .side:not(.whole)")

    def act(self, selector: str) -> None:
        if self.touch:
            self.page.locator(selector).tap()
        else:
            self.page.locator(selector).focus()
            self.page.keyboard.press("Enter")

    def next(self) -> None:
        if self.touch:
            self.page.locator("#vote-next").tap()
        else:
            self.page.keyboard.press("n")
        self.page.wait_for_function("() => !document.querySelector('#reveal').innerText.trim()")
        self.page.wait_for_function(READY)

    def vote(self, key: str) -> None:
        if self.touch:
            self.page.locator(f"#vote-{key}").tap()
        else:
            self.page.keyboard.press(key)

    def saved(self, done: int) -> None:
        self.page.wait_for_function(SAVED)
        self.page.wait_for_function(COUNTED, arg=f"{done} of {GOAL}")


def votes(runtime: Any) -> list[tuple[str, str]]:
    """Return every vote as (comparison, action)."""
    with runtime.database.read() as session:
        found = session.connection().exec_driver_sql("SELECT comparison_id, action FROM label ORDER BY id")
        return [(str(row[0]), str(row[1])) for row in found]


@pytest.fixture(scope="module")
def labelling_page() -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page whose host set a goal. Its answers come at once."""
    from playground.ui.page import serve  # noqa: PLC0415  gradio takes seconds: only when a browser test runs
    from tests.scripted import scripted  # noqa: PLC0415  as above

    with tempfile.TemporaryDirectory() as folder:
        runtime = scripted(Path(folder))
        runtime.settings.session_goal = GOAL
        runtime.settings.label_licence = "CC-BY-4.0"
        demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
        yield address, runtime
        demo.close()


@pytest.mark.parametrize("touch", [False, True], ids=["keyboard", "touch"])
def test_thirty_comparisons_lose_and_double_nothing(browser: Any, labelling_page: tuple[str, Any], touch: bool) -> None:
    address, runtime = labelling_page
    size = {"width": 390, "height": 844} if touch else {"width": 1360, "height": 900}
    context = browser.new_context(viewport=size, has_touch=touch, reduced_motion="reduce")
    loads: list[str] = []
    page = context.new_page()
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    page.goto("about:blank")
    page.goto(address)
    someone, before = Labeller(page, runtime, touch=touch), votes(runtime)
    keys = "1234567"
    for number in range(1, GOAL + 1):
        someone.next()
        key = keys[number % len(keys)]
        if number == 1:  # nothing is stored before the notice is agreed to
            someone.vote(key)
            page.wait_for_function("() => document.querySelector('#pair-state').innerText.includes('I agree')")
            assert votes(runtime) == before
            someone.agree()
            someone.look_closer()
            someone.vote(key)
        elif number == 5:  # a double click
            someone.press(key, twice=True)
        elif number == 10:  # a reload in mid-comparison, which keeps it
            page.reload()
            someone.open()
            page.wait_for_function(READY)
            someone.vote(key)
        elif number == 15:  # back, and forward again
            page.go_back()
            page.go_forward()
            someone.open()
            page.wait_for_function(READY)
            someone.vote(key)
        elif number == 20:  # the connection is away
            context.set_offline(True)
            someone.vote(key)
            page.wait_for_function(LATE)
            assert len(votes(runtime)) == len(before) + number - 1
            context.set_offline(False)
            page.wait_for_function(SENT, timeout=20_000)
        else:
            someone.vote(key)
        someone.saved(number)
    given = votes(runtime)[len(before) :]
    assert [action for _, action in given] == ["vote"] * GOAL
    assert len({comparison for comparison, _ in given}) == GOAL
    assert "done" in page.locator("#sitting-line").inner_text()
    asked_for = [url for url in loads if url.startswith("http")]
    assert len(asked_for) == 3, "only the reload and the way back loaded the page anew"
    context.close()
