"""The boards in the Labels tab: empty, with votes, by keyboard, on a phone, and as a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.exchange.record import UNKNOWN_TIME
from playground.store.imports import import_labels
from tests.learn.understanding.conftest import planted, rows_of

pytestmark = [pytest.mark.timeout(120), pytest.mark.browser]


@pytest.fixture
def empty_page(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page on which nobody has voted."""
    from playground.ui.page import serve  # noqa: PLC0415  gradio takes seconds: only when a browser test runs
    from tests.scripted import scripted  # noqa: PLC0415  as above

    runtime = scripted(tmp_path, delay=0.01)
    demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
    yield address, runtime
    demo.close()


def open_boards(open_page: Any, address: str, **look: Any) -> Any:
    page = open_page(address, **look)
    page.get_by_role("tab", name="Labels", exact=True).click()
    page.get_by_role("tab", name="Boards", exact=True).click()
    page.wait_for_selector("#board .rows > *")
    return page


def test_no_votes_then_a_board_with_a_table_and_a_file(open_page: Any, empty_page: tuple[str, Any]) -> None:
    address, runtime = empty_page
    page = open_boards(open_page, address)
    page.wait_for_selector("#board .empty")
    with runtime.database.write() as session:
        rows = rows_of(planted([0.8, 0.0, -0.8], 120))
        import_labels(session, rows, name="planted", unknown_time=UNKNOWN_TIME)
    page.locator("#board-source input").click()
    page.get_by_role("option", name="import").click()
    page.wait_for_selector("#board table.board")
    page.wait_for_selector("#board-ratings .js-plotly-plot")
    names = page.locator("#board table.board").first.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert [name[0] for name in names] == ["a", "b", "c"]
    with page.expect_download() as saved:
        page.locator("#board [data-export]").click()
    assert saved.value.suggested_filename == "board-expert.csv"
    assert Path(saved.value.path()).read_text("utf-8").startswith("\ufeffrank,name,rating")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
