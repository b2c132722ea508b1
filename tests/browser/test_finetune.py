"""The Fine-tune tab as people use it: begin, leave, come back, cancel, go on, promote, roll back, and weigh reasons.

Labels are planted and embedded by hash, so no model is loaded. A fit waits at a step, so that it can be left.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ulid import ULID

pytestmark = [pytest.mark.timeout(180), pytest.mark.browser]
VOTES = 120
HELD_AT = 3  # the step at which a fit waits until it is let go
GO = threading.Event()


class HashEncoder:
    """Texts to fixed random directions, those of one kind near one another."""

    name, revision = "hash", "1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [self._one(text) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _one(self, text: str) -> np.ndarray:
        kind = np.random.default_rng(len(text) % 4).normal(size=384)
        return kind + np.random.default_rng(sum(text.encode())).normal(size=384)


def planted(database: Any) -> None:
    """Store votes: shorter answers come from the base, more correct ones from the word problem expert."""
    from playground.core.events import Decided, Finished, RunStarted  # noqa: PLC0415  only when a browser test runs
    from playground.core.preferences import Verdict  # noqa: PLC0415
    from playground.core.values import Sampling, Text  # noqa: PLC0415
    from playground.store.labels import add_rationale, create_comparison, vote  # noqa: PLC0415
    from playground.store.people import labeller  # noqa: PLC0415
    from playground.store.runs import save_run  # noqa: PLC0415

    names = ("base", "sentiment", "emotion", "math")
    rng = np.random.default_rng(0)
    with database.write() as session:
        me = labeller(session, "me")
        for number in range(VOTES):
            prompt, ids = f"Question {number}: how many {'apples ' * (number % 4)}are there?", []
            winner, reason = ("base", "shorter") if number % 2 else ("math", "more correct")
            loser = str(rng.choice([name for name in names if name != winner]))
            for expert in (winner, loser):
                run, used = str(ULID()), np.eye(4, dtype=np.float32)[names.index(expert)]
                events = [
                    RunStarted(prompt, "manual", "manual-test", "prompt", names, 0, 2, 4, run_id=run, seq=0, at=0.0),
                    Decided(used, used, "override", Text("By hand."), run_id=run, seq=1, at=0.0),
                    Finished("An answer.", used, 3, 5, {"total_s": 0.1}, "stop", run_id=run, seq=2, at=0.1),
                ]
                save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
                ids.append(run)
            pair = create_comparison(session, *ids, selection="uniform", pair_propensity=1 / 6, left_run=ids[0])
            chosen, token = Verdict.A if ids[0] < ids[1] else Verdict.B, str(ULID())
            add_rationale(session, vote(session, pair, chosen, labeller_id=me, client_token=token), "", [reason])


@pytest.fixture(scope="module")
def tuned_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """(address, runtime) of a page over planted votes. Its fits wait at a step for GO."""
    from playground.learn.labels import trainer  # noqa: PLC0415  imports torch: only when a browser test runs
    from playground.serving.versions import Versions  # noqa: PLC0415
    from playground.ui.page import serve  # noqa: PLC0415
    from tests.scripted import scripted  # noqa: PLC0415

    runtime: Any = scripted(Path(tmp_path_factory.mktemp("tune")))
    runtime.versions, runtime.encoder = Versions(runtime.database, runtime.settings), HashEncoder()
    planted(runtime.database)
    fit = trainer.fit

    def slow(*given: Any, **more: Any) -> Iterator[Any]:
        for step in fit(*given, **more):
            yield step
            if not GO.is_set():
                time.sleep(0.3)
            if step.step == HELD_AT:
                GO.wait(120)

    trainer.fit = slow
    demo, address = serve(runtime, host="127.0.0.1", port=0, block=False)
    yield address, runtime
    demo.close()
    trainer.fit = fit
    runtime.close()


def opened(open_page: Any, address: str, **how: Any) -> Any:
    page = open_page(address, **how)
    page.wait_for_selector("#top .status[data-phase=ready]")
    show(page)
    return page


def show(page: Any) -> None:
    """Open the tab; on a phone it is in the menu."""
    tab = page.get_by_role("tab", name="Fine-tune")
    if not (tab.count() and tab.first.is_visible()):
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text="Fine-tune")
    tab.first.click()
    page.wait_for_selector("#tune-facts b")


def step_of(page: Any) -> int:
    words = page.locator("#curve canvas").get_attribute("aria-label")
    return int(words.split("step ")[1].split(":")[0]) if "step " in words else 0


def wait_for_step(page: Any, least: int) -> int:
    page.wait_for_function(
        "least => { const said = document.querySelector('#curve canvas').getAttribute('aria-label');"
        " return Number((said.match(/step (\\d+)/) || [0, 0])[1]) >= least; }",
        arg=least,
        timeout=30_000,
    )
    return step_of(page)


def test_a_fine_tune_outlives_the_tab_and_is_cancelled_resumed_promoted_and_taken_back(
    open_page: Any, tuned_page: tuple[str, Any]
) -> None:
    address, runtime = tuned_page
    page = opened(open_page, address)
    assert "120 labels" in page.locator("#tune-facts").inner_text()
    page.locator("#tune-run").click()
    wait_for_step(page, 1)
    assert page.locator("#tune-run").is_disabled()

    # it goes on while nobody looks, and every page sees it
    page.get_by_role("tab", name="Playground").click()
    page.reload()
    page.wait_for_selector("#top .status[data-phase=ready]")
    time.sleep(1)
    show(page)
    back_at = wait_for_step(page, HELD_AT)
    phone = opened(open_page, address, width=390, height=844, theme="dark")
    assert wait_for_step(phone, back_at) >= back_at
    assert back_at == HELD_AT
    assert phone.locator("#tune-run").is_disabled()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390

    # cancel on one page, seen on the other; go on from there
    phone.locator("#tune-cancel").click()
    page.wait_for_selector("#tune-resume", timeout=10_000)
    phone.wait_for_selector("#tune-resume")
    assert "cancelled at step" in page.locator(".curve-words").inner_text()
    assert page.locator("#versions tbody tr").count() == 1
    stopped_at = step_of(page)
    GO.set()
    page.locator("#tune-resume").click()
    page.wait_for_selector("#outcome .metrics", timeout=30_000)
    assert step_of(page) > stopped_at
    assert page.locator("#outcome .rule li").count() == 4
    assert "rule" in page.locator("#promote").inner_text()
    assert page.locator("#versions tbody tr").count() == 2
    assert "120 #" in page.locator("#versions").inner_text()

    # promote and roll back, one press each
    page.locator("#promote").click()
    page.wait_for_function("() => !document.querySelector('#versions tr.current').innerText.includes('shipped')")
    page.locator("#rollback").click()
    page.wait_for_function("() => document.querySelector('#versions tr.current').innerText.includes('shipped')")
    assert runtime.versions.current("linear").startswith("linear-shipped")


def test_a_version_is_looked_at_and_decides_beside(open_page: Any, tuned_page: tuple[str, Any]) -> None:
    address, runtime = tuned_page
    draft = next(one.id for one in runtime.versions.history("linear") if not one.is_current)
    page = opened(open_page, address)
    page.locator(f'#versions .link[data-id="{draft}"]').click()
    page.wait_for_selector("#version-figures .off-policy table", timeout=20_000)
    said = page.locator("#version-figures .off-policy").inner_text()
    assert "doubly robust" in said
    assert "effective answers of 240 drawn answers" in said
    page.locator("#shadow-version").click()
    page.wait_for_selector("#shadow .shadow")
    assert runtime.versions.shadow("linear") == draft
    assert "◌ shadow" in page.locator("#versions").inner_text()


def test_two_reasons_are_weighed_with_the_dial(open_page: Any, tuned_page: tuple[str, Any]) -> None:
    address, runtime = tuned_page
    page = opened(open_page, address)
    page.get_by_text("Dial: weigh two reasons").click()
    page.wait_for_selector("#aspects-learn:not([disabled])")
    assert "shorter 60" in page.locator("#aspects-hint").inner_text()
    page.locator("#aspects-learn").click()
    page.wait_for_selector("#aspects-front .js-plotly-plot", timeout=30_000)
    before = page.locator("#aspects-mix weight-bars").get_attribute("data-weights")
    page.locator("#aspects-angle input[type=number]").fill("0")
    page.locator("#aspects-angle input[type=number]").press("Tab")
    page.wait_for_function(
        "before => document.querySelector('#aspects-mix weight-bars').dataset.weights !== before", arg=before
    )
    page.locator("#aspects-keep").click()
    page.wait_for_function("() => document.querySelector('#versions').innerText.includes('dial at 0°')")
    assert any(one.config.get("degrees") == 0 for one in runtime.versions.history("linear"))
