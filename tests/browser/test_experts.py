"""Adding an adapter from the page over the tiny model: upload, checklist, card, a run that uses it, removal."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_installation, write_tiny_expert

WAIT_MS = 120_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page over the tiny model with one shipped expert."""
    # gradio and torch take seconds: only when a browser test runs
    from playground.serving.runtime import Runtime  # noqa: PLC0415
    from playground.ui.page import serve  # noqa: PLC0415

    place = tmp_path_factory.mktemp("experts-page")
    runtime = Runtime(tiny_installation(place, tiny_model_folder, ("alpha",)))
    runtime.wait(300)
    demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
    yield address, runtime
    demo.close()
    runtime.close()


def packed(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    return path


@pytest.mark.timeout(600)
def test_an_adapter_is_uploaded_added_and_removed(browser: Any, served: tuple[str, Any], tmp_path: Path) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415  (skipped without it)

    address, runtime = served
    good = packed(write_tiny_expert(tmp_path, "sea_poems", 6, seed=5))
    broken = write_tiny_expert(tmp_path, "broken", 6, seed=5)
    (broken / "adapter_model.safetensors").rename(broken / "adapter_model.bin")
    page = browser.new_page(viewport={"width": 1360, "height": 1000})
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.get_by_role("tab", name="Experts").click()
    page.get_by_text("Add an adapter").click()

    files = page.locator("#adapter-files input[type=file]")
    files.set_input_files(packed(broken))
    # drawn in two parts, `broken` and `.zip`; only while it is uploaded the name is one text
    expect(page.locator("#adapter-files").get_by_label("broken.zip", exact=True)).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#adapter-files").get_by_label("Upload more files")).to_be_visible()
    page.locator("#check-adapter").click()
    refused = page.locator('#checklist li[data-state="fail"]')
    expect(refused).to_contain_text("The weights are a pickle", timeout=WAIT_MS)
    expect(page.locator("#add-adapter")).to_be_hidden()

    page.locator("#adapter-files").get_by_label("Clear").click()
    # the field for more files goes away; a file that is given to it while it does is lost
    expect(page.locator("#adapter-files").get_by_label("broken.zip", exact=True)).to_have_count(0, timeout=WAIT_MS)
    expect(page.locator("#adapter-files").get_by_label("Upload more files")).to_have_count(0)
    expect(files).to_have_count(1)
    files.set_input_files(good)
    expect(page.locator("#adapter-files").get_by_label("sea_poems.zip", exact=True)).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#adapter-files").get_by_label("Upload more files")).to_be_visible()
    page.locator("#check-adapter").click()
    expect(page.locator("#add-adapter")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator('#checklist li[data-state="pass"]')).to_have_count(9)
    title = page.locator("#card-title").get_by_role("textbox")
    expect(title).to_have_value("Sea_Poems")
    title.fill("<b>Sea</b>")
    page.locator("#add-adapter").click()
    card = page.locator('[data-expert="sea_poems"]')
    expect(card).to_contain_text("<b>Sea</b>", timeout=WAIT_MS)
    assert "sea_poems" in runtime.engine.bank.names
    page.set_viewport_size({"width": 390, "height": 844})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390

    card.locator(".remove").click()
    expect(page.locator("#removing")).to_contain_text("Remove <b>Sea</b>?", timeout=WAIT_MS)
    page.locator("#remove-expert").click()
    expect(card).to_have_count(0, timeout=WAIT_MS)
    assert "sea_poems" not in runtime.engine.bank.names
    expect(page.locator("#removing")).to_be_hidden()
    page.close()
