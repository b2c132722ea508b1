"""Takes the screenshots of the README: `python -m tests.screenshots`. Needs Chromium, and the network on a first start.

The page runs in a process of its own with an empty database, answers one prompt, and is photographed light, dark and as
wide as a phone.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "static" / "screenshots"
PROMPT = (  # two parts, so that the turn from one expert to another can be seen
    "Ben has 4 boxes with 6 pens each. How many pens does Ben have in all?\n\n"
    "Which emotion does this message express? Thank you so much, you saved my day!"
)
ROUTERS = ("lora_mixer", "linear", "knn")  # the first one that is ready shows most
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the page's own host may be asked for anything.
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
SHOTS = {
    "playground-light": ("light", 1360, 900),
    "playground-dark": ("dark", 1360, 900),
    "playground-phone": ("light", 390, 844),
}
START_MS, RUN_MS = 600_000, 120_000


def chromium() -> str | None:
    """Return the path of this machine's Chromium, or None."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


@contextmanager
def page_address() -> Iterator[str]:
    """Yield the address of a new page, with an empty data folder and a free port."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "playground", "serve", "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PLAYGROUND_DATA_DIR": folder},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = next(line for line in process.stdout if "http" in line)
            found = re.search(r"https?://\S+", said)
            assert found, said
            yield found[0]
        finally:
            process.terminate()
            process.wait(30)


def shoot(browser: Browser, address: str, name: str) -> Path:
    """Ask the prompt and photograph the finished run."""
    theme, width, height = SHOTS[name]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}?__theme={theme}")
    expect(page.locator('.status[data-phase="ready"]')).to_be_attached(timeout=START_MS)
    menu = page.locator("#router select")
    offered = menu.locator("option:not([disabled])").evaluate_all("options => options.map(option => option.value)")
    menu.select_option(next(router for router in ROUTERS if router in offered))
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.locator("#run").click()
    expect(page.locator("#run-view .tok").first).to_be_attached(timeout=RUN_MS)
    stage = page.locator("#run-view .stage-text")  # the recorded run that is there at first is also finished
    expect(stage).not_to_contain_text("recorded", timeout=RUN_MS)
    expect(stage).to_contain_text(re.compile("finished|stopped"), timeout=RUN_MS)
    if width < 600:
        page.locator("#run-view").evaluate("view => view.scrollIntoView(true)")
    path = TARGET / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    context.close()
    return path


def main() -> int:
    """Take every screenshot; the exit status is 1 without Chromium."""
    executable = chromium()
    if executable is None:
        print("No Chromium on this machine: install the package chromium.", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    with page_address() as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=executable, args=FLAGS)
        for name in SHOTS:
            print(shoot(browser, address, name).relative_to(ROOT))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
