"""The Compare tab over a reload, in a second tab, and under a double click."""

from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(120), pytest.mark.browser]

# said when both runs and the comparison are stored; the scripted answers are the same
STORED = "Both answers are the same"


def rows(runtime: Any) -> dict[str, int]:
    with runtime.database.read() as session:
        run = session.connection().exec_driver_sql
        return {table: run(f"SELECT count(*) FROM {table}").scalar() for table in ("run", "comparison", "label")}


def stored(page: Any) -> None:
    """Wait until the comparison is stored. A failure shows what the page says instead."""
    from playwright.sync_api import expect  # noqa: PLC0415  (skipped without it)

    expect(page.locator("#pair-state")).to_contain_text(STORED, timeout=30_000)


def arrive(page: Any) -> None:
    page.wait_for_function("() => window.Playground?.view('run')")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#pair-run")


def ask(page: Any, prompt: str, *, double: bool = False) -> None:
    page.locator("#pair-prompt textarea").fill(prompt)
    press = page.locator("#pair-run")
    press.dblclick() if double else press.click()
    stored(page)


@pytest.mark.parametrize("button", ["pair-run", "vote-next"])
def test_a_double_click_stores_one_comparison(open_page: Any, scripted_page: tuple[str, Any], button: str) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    arrive(page)
    before = rows(runtime)
    page.locator(f"#{button}").dblclick()
    stored(page)
    after = rows(runtime)
    assert (after["run"] - before["run"], after["comparison"] - before["comparison"]) == (2, 1)


def test_a_reload_before_the_vote_keeps_the_comparison(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    arrive(page)
    ask(page, "Which is kept?")
    answers = page.locator("#sides .side-answer").all_inner_texts()
    before = rows(runtime)
    page.reload()
    arrive(page)
    page.wait_for_selector("#vote-2:not([disabled])")
    assert page.locator("#pair-prompt textarea").input_value() == "Which is kept?"
    assert page.locator("#sides .side-answer").all_inner_texts() == answers
    assert page.locator("#reveal").inner_text() == ""
    page.locator("#vote-2").click()
    page.wait_for_selector("#reveal .saved")
    assert rows(runtime) == before | {"label": before["label"] + 1}
    page.reload()  # after the vote it is shown with its names
    arrive(page)
    page.wait_for_selector("#vote-undo:not([disabled])")
    assert "The vote was" in page.locator("#pair-state").inner_text()


def test_a_second_tab_has_a_comparison_of_its_own(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, _ = scripted_page
    page = open_page(address)
    arrive(page)
    ask(page, "Which of the first tab?")
    other = page.context.new_page()
    other.goto(page.url)
    arrive(other)
    assert other.locator("#pair-prompt textarea").input_value() == ""
    ask(other, "Which of the second tab?")
    page.reload()
    arrive(page)
    page.wait_for_selector("#vote-2:not([disabled])")
    assert page.locator("#pair-prompt textarea").input_value() == "Which of the first tab?"


def test_a_page_whose_comparison_was_pushed_out_can_still_vote(
    open_page: Any, scripted_page: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.actions.compare.KEPT", 1)
    address, runtime = scripted_page
    first, second = open_page(address), open_page(address)
    for page, prompt in ((first, "Which is pushed out?"), (second, "Which pushes it out?")):
        arrive(page)
        ask(page, prompt)
    before = rows(runtime)
    first.locator("#vote-6").click()
    first.wait_for_selector("#reveal .saved")
    assert rows(runtime)["label"] == before["label"] + 1
    first.locator("#vote-undo").click()
    first.wait_for_function("() => document.querySelector('#pair-state').innerText.includes('taken back')")
