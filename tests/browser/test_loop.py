"""The whole loop with the real models: ask, look, compare blind, label, fine-tune, promote, roll back."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.errors import PlaygroundError
from playground.settings import Settings

pytestmark = [pytest.mark.timeout(300), pytest.mark.browser, pytest.mark.model]

REVIEW = "Is this review positive or negative? A dull film with one good song."
TAUGHT = (
    "Is this review positive or negative? The jokes never land.",
    "Is this review good or bad? I left smiling.",
    "Positive or negative review? The cast is wasted on a thin script.",
    "Is the review positive? A warm and funny film.",
    "Is this film review positive or negative? I slept through half of it.",
    "Tell me whether this review is positive: the music saves it.",
    "Is this a positive or a negative review? Two hours I will never get back.",
    "Positive or negative? The best acting of the year.",
    "Is this review negative? The ending is a cheat.",
    "Is this movie review positive or negative? It charmed me from the first scene.",
)


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page over the real models and a database of its own."""
    from playground.serving.runtime import Runtime  # noqa: PLC0415  loads nothing until it starts
    from playground.ui.page import serve  # noqa: PLC0415  gradio takes seconds: only when a browser test runs

    runtime = Runtime(Settings(data_dir=tmp_path_factory.mktemp("loop"), database_url="", admin_password=""))
    demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
    assert runtime.spare == 1  # a processor is left to the browser, which is on this machine
    try:
        runtime.wait(240)
    except PlaygroundError as error:
        pytest.skip(f"the models cannot be loaded here: {error}")
    yield address, runtime
    demo.close()
    runtime.close()


def teach(runtime: Any) -> None:
    """Votes of another person through the endpoints: on reviews the base model is preferred to the sentiment expert."""
    from playground.ui.endpoints import Endpoints  # noqa: PLC0415  imports gradio

    endpoints = Endpoints(runtime)
    for prompt in TAUGHT:
        duel = endpoints.compare(prompt, "expert:base", "expert:sentiment", max_tokens=3)
        label = endpoints.vote(duel["comparison_id"], "tie")
        better = "1" if label["a"]["expert"] == "base" else "7"
        endpoints.vote(duel["comparison_id"], better, labeller=label["labeller"])


def ask(page: Any, prompt: str, router: str) -> dict[str, str]:
    """Run a prompt on the Playground tab; (expert -> percent) as the bars show it, and the stage line."""
    page.get_by_role("tab", name="Playground").click()
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#router select").select_option(router)
    before = page.locator("#run-view .run").get_attribute("data-run")
    page.locator("#run").click()
    page.wait_for_function(
        "before => { const run = document.querySelector('#run-view .run');"
        " return run.dataset.run !== before && ['over', 'failed'].includes(run.dataset.state); }",
        arg=before,
        timeout=60_000,
    )
    assert page.locator("#run-view .run").get_attribute("data-state") == "over"
    shown = {
        row.get_attribute("aria-label").rsplit(" ", 1)[0]: row.locator(".pct").inner_text()
        for row in page.locator("#run-view .bars .bar").all()
    }
    return shown | {"stage": page.locator("#run-view .stage-text").inner_text()}


def test_the_whole_loop(open_page: Any, real_page: tuple[str, Any]) -> None:
    address, runtime = real_page
    page = open_page(address)
    page.wait_for_selector("#top .status[data-phase=ready]", timeout=60_000)
    page.wait_for_selector("#router option[value=linear]", state="attached")
    page.get_by_text("How it answers").click()
    page.locator("#max-tokens input[type=number]").fill("12")
    page.locator("#max-tokens input[type=number]").press("Tab")

    # ask and look: weights, tokens, attention
    first = ask(page, REVIEW, "linear")
    assert "linear-shipped" in first["stage"]
    tokens = page.locator("#run-view .answer .tok")
    assert tokens.count() >= 1
    tokens.first.click()
    page.wait_for_function("() => document.querySelectorAll('#run-view .detail .alt').length === 5")
    assert page.locator("#run-view .attention-text .k").count() > 10
    page.locator("#run-view .att-layer").select_option("4")
    page.wait_for_selector("#run-view .heads .att-head-button")
    assert page.locator("#run-view .heads .att-head-button").count() == 9

    # compare blind: nothing that names a side is in the page before the vote
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill("Say hello to Ann.")
    page.get_by_text("Who answers").click()
    page.locator("#pair-tokens input[type=number]").fill("8")
    page.locator("#pair-tokens input[type=number]").press("Tab")
    page.locator("#pair-run").click()
    page.wait_for_selector("#vote-2:not([disabled])", timeout=60_000)
    assert page.locator("#reveal").inner_text().strip() == ""
    sides = page.locator("#sides").inner_html().lower()
    assert not [expert.name for expert in runtime.pool.experts if f'"{expert.name}"' in sides]
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#reveal .saved")
    assert "Saved" in page.locator("#reveal .saved").inner_text()

    # the label is saved
    page.get_by_role("tab", name="Labels").click()
    page.wait_for_selector("#labels .rows tbody tr")
    assert "Say hello to Ann." in page.locator("#labels .rows").inner_text()

    # fine-tune on more labels, look at before and after
    teach(runtime)
    page.get_by_role("tab", name="Fine-tune").click()
    page.wait_for_selector("#tune-facts b")
    assert re.search(r"\b11 labels", page.locator("#tune-facts").inner_text())
    page.locator("#tune-run").click()
    page.wait_for_selector("#outcome .metrics", timeout=90_000)
    assert page.locator("#outcome .metrics tbody tr").count() == 3
    assert page.locator("#outcome .change").count() >= 1
    assert "step" in page.locator("#curve canvas").get_attribute("aria-label")

    # promote: the same prompt routes differently
    page.locator("#promote").click()
    page.wait_for_selector("#versions tr.current .version")
    page.wait_for_function("() => !document.querySelector('#versions tr.current').innerText.includes('shipped')")
    taught = ask(page, REVIEW, "linear")
    assert "shipped" not in taught["stage"]
    assert taught["Sentiment"] != first["Sentiment"]
    assert int(taught["Sentiment"].strip("<%")) < int(first["Sentiment"].strip("<%"))

    # roll back: as before
    page.get_by_role("tab", name="Fine-tune").click()
    page.locator("#rollback").click()
    page.wait_for_function("() => document.querySelector('#versions tr.current').innerText.includes('shipped')")
    again = ask(page, REVIEW, "linear")
    assert again == first | {"stage": again["stage"]}
    assert "linear-shipped" in again["stage"]

    # look at a version that is listed: it is used only after a second press
    page.get_by_role("tab", name="Fine-tune").click()
    page.locator("#versions tr.current .link").click()
    page.wait_for_selector("#version-figures h3")
    assert page.locator("#use-version").is_hidden()
    page.locator("#versions button.quiet", has_text="promote").first.click()
    page.wait_for_selector("#version-figures .metrics")
    assert page.locator("#version-figures .metrics tbody tr").count() == 3
    page.locator("#close-version").click()
    page.wait_for_selector("#version-figures", state="hidden")
    assert "shipped" in page.locator("#versions tr.current").inner_text()
    page.locator("#versions button.quiet", has_text="promote").first.click()
    page.locator("#use-version").click()
    page.wait_for_function("() => !document.querySelector('#versions tr.current').innerText.includes('shipped')")
    page.wait_for_selector("#version-figures", state="hidden")


def test_labels_survive_for_the_next_start(real_page: tuple[str, Any]) -> None:
    from playground.store.database import Database  # noqa: PLC0415  kept beside its only use
    from playground.store.label_views import current_labels  # noqa: PLC0415

    runtime = real_page[1]
    with Database(runtime.settings.database_address).read() as session:
        assert len(current_labels(session)) == 11
    assert Path(runtime.settings.data_dir, "playground.sqlite3").exists()
