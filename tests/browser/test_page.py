"""The page over a scripted runtime: locks, keys, overrides, escaping, exports, phones, states. Fast, no model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from playground.core.events import TokenGenerated
from playground.core.route_measures import switches
from playground.store.label_views import current_labels
from playground.store.runs import load_events

pytestmark = [pytest.mark.timeout(120), pytest.mark.browser]

PAYLOAD = '<img src=x onerror="window.__xss=1"><script>window.__xss=2</script>${window.__xss=3}{{constructor}}'


# copies the text of every answer of the server, streams included, into window.heard
LISTEN = """() => {
  window.heard = '';
  const fetched = window.fetch;
  window.fetch = async (...call) => {
    const answer = await fetched(...call);
    if (!answer.body) return answer;
    const [ours, theirs] = answer.body.tee();
    (async () => {
      const reader = ours.pipeThrough(new TextDecoderStream()).getReader();
      for (let part; !(part = await reader.read()).done;) window.heard += part.value;
    })().catch(() => {});
    return new Response(theirs, { status: answer.status, headers: answer.headers });
  };
}"""


def run(page: Any, prompt: str, router: str = "lora_mixer") -> None:
    """Run a prompt and wait for its end, and for what comes after it: the override's weights, the recent runs."""
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#router select").select_option(router)
    before = page.locator("#run-view .run").get_attribute("data-run")
    page.locator("#run").click()
    page.wait_for_function(
        "before => { const run = document.querySelector('#run-view .run');"
        " return run.dataset.run !== before && run.dataset.state === 'over'; }",
        arg=before,
    )
    page.wait_for_function("() => /^Answered/.test(document.querySelector('#play-status [role=status]').innerText)")


def drawn(page: Any) -> None:
    """Move the pointer off the pictures and wait until they are drawn: each change is drawn in the next frame."""
    page.mouse.move(5, 5)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@contextmanager
def closed_stream(page: Any) -> Iterator[None]:
    """Wait at the end until the server's streams are closed: one that a reload cuts off is an error on the console."""
    streams: set[Any] = set()
    page.on("request", lambda request: streams.add(request) if "/queue/data" in request.url else None)
    page.on("requestfinished", lambda request: streams.discard(request))
    page.on("requestfailed", lambda request: streams.discard(request))
    yield
    page.wait_for_timeout(300)  # a press sends its request after the browser's next frames
    while streams:
        page.wait_for_timeout(50)


@contextmanager
def slowed(runtime: Any, seconds: float) -> Iterator[None]:
    """Let the runtime take so many seconds for a token, so that a busy browser sees what lies between."""
    before, runtime.delay = runtime.delay, seconds
    try:
        yield
    finally:
        runtime.delay = before


def value_of_canvas(page: Any, name: str) -> str:
    """The pixels of a canvas as text."""
    return page.evaluate("name => document.querySelector(name).toDataURL()", f"#run-view .{name}")


def test_one_lock_links_every_picture(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    run(page, "What is 37 * 24 + 15?")
    mean = page.locator("#run-view .bars").inner_text()
    page.locator("#run-view .answer .tok").nth(7).click()
    page.mouse.move(5, 5)
    page.wait_for_function("() => document.querySelector('.tok.locked')?.textContent === ' two'")
    assert "token 8" in page.locator("#run-view .bars-what").inner_text()
    assert page.locator("#run-view .layer-what").inner_text() == "token 8"
    assert "two" in page.locator("#run-view .attention-what").inner_text()
    assert page.locator("#run-view .bars").inner_text() != mean
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.tok.locked')?.textContent === ' parts'")
    page.keyboard.press("Escape")
    page.wait_for_selector("#run-view .answer .tok.locked", state="detached")
    page.wait_for_function("mean => document.querySelector('#run-view .bars').innerText === mean", arg=mean)
    page.keyboard.press("4")
    page.wait_for_selector("#run-view .tok.faded")
    page.keyboard.press("Escape")
    page.wait_for_selector("#run-view .tok.faded", state="detached")


def test_the_prompt_has_its_own_ribbon_and_switches_are_counted(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    prompt = "Tom eats one of 3 apples. Which emotion is this: I love it when you sing to me in the evening."
    run(page, prompt)
    asked = page.locator("#run-view .asked .tok")
    assert "".join(asked.all_text_contents()) == prompt
    assert page.locator("#run-view .asked .tok.turn").count() >= 2
    with runtime.database.read() as session:
        events = load_events(session, page.locator("#run-view .run").get_attribute("data-run"))
    weights = np.stack([event.weights for event in events if isinstance(event, TokenGenerated)])
    assert f"changes {switches(weights).sum()} times in the answer" in page.locator(".measures").inner_text()
    assert page.locator("#run-view .answer .tok.switch").count() == switches(weights).sum()
    asked.nth(4).click()
    page.mouse.move(5, 5)
    page.wait_for_function("() => document.querySelector('.layer-what').innerText === 'prompt token 5'")
    assert page.locator("#run-view .detail canvas").count() == 1
    page.keyboard.press("ArrowUp")
    page.wait_for_function("() => /^layer 1: .* nats/.test(document.querySelector('.layer-what').innerText)")
    assert page.locator("#run-view .map-what").inner_text().startswith("in layer 1 alone")
    page.keyboard.press("End")
    page.wait_for_selector("#run-view .answer .tok.locked")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelector('.layer-what').innerText === 'mean over the answer'")


def test_a_screen_reader_finds_only_our_sentences_in_the_status(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    page.evaluate(
        """() => {
          const status = document.querySelector('#play-status');
          window.said = new Set();
          const heard = () => window.said.add(status.innerText.trim());
          new MutationObserver(heard).observe(status, { subtree: true, childList: true, characterData: true });
        }"""
    )
    run(page, "What do you say?", "knn")
    assert set(page.evaluate("[...window.said]")) - {""} == {
        "Answering.",
        "Answered with 38 tokens, mostly math, 62%.",
    }


def test_keys_are_dead_in_text_fields(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    page.locator("#prompt textarea").press_sequentially("?/.g1o")
    assert page.locator("#prompt textarea").input_value() == "?/.g1o"
    assert page.locator("dialog[open]").count() == 0
    page.locator("h1").click()
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_selector("#pair-run")
    assert page.get_by_role("tab", name="Compare").get_attribute("aria-selected") == "true"


def test_a_reopened_run_looks_as_it_did_live(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    run(page, "The first prompt of two")
    names = ("tokens-map", "layers-map", "attention-map")
    live = [value_of_canvas(page, name) for name in names]
    answer = page.locator("#run-view .answer").inner_html()
    run(page, "Something else entirely", "knn")
    assert [value_of_canvas(page, name) for name in names] != live
    page.get_by_text("Recent runs").click()
    page.locator("#recent .recent", has_text="The first prompt of two").first.click()
    page.wait_for_function("answer => document.querySelector('#run-view .answer').innerHTML === answer", arg=answer)
    drawn(page)
    assert [value_of_canvas(page, name) for name in names] == live


def test_a_reopened_run_has_its_own_words_in_the_attention_text(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    words = page.locator("#run-view .attention-text")
    run(page, "Name five birds of prey")
    live = words.text_content()
    assert "Name five birds of prey" in live
    run(page, "Sing about cats and dogs")  # as long, and every chat begins with the same token
    assert "Sing about cats and dogs" in words.text_content()
    page.get_by_text("Recent runs").click()
    page.locator("#recent .recent", has_text="Name five birds of prey").first.click()
    page.wait_for_function("() => /^reopened/.test(document.querySelector('.stage-text').innerText)")
    drawn(page)
    assert words.text_content() == live


def test_an_override_streams_beside_the_first_answer(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "What is 37 * 24 + 15?", "knn")
    first = page.locator("#run-view .answers > .answer").inner_text()
    page.get_by_text("Override the weights").click()
    assert page.locator("#w3 input[type=number]").input_value() == "62"
    page.locator("#w3 input[type=number]").fill("81")  # the others give way in the ratio they had
    page.wait_for_function("() => document.querySelector('#w4 input[type=number]').value === '10'")
    page.locator("#w4 button").click()
    assert page.locator("#w3 input[type=number]").input_value() == "0"
    page.locator("#again").click()
    page.wait_for_function("() => /first differs at token 13/.test(document.querySelector('.beside-head')?.innerText)")
    page.wait_for_selector("#run-view .likely table")
    assert page.locator("#run-view .likely td").all_inner_texts()[1:3] == ["\u22120.50", "\u22121.25"]
    assert "less likely: its tokens are 2.12 times less probable" in page.locator("#run-view .likely").inner_text()
    assert page.locator("#run-view .beside .tok.differs").count() == 1
    assert page.locator("#run-view .answers > .answer").inner_text() == first
    assert runtime.requests[-1].override == (0, 0, 0, 0, 1)
    assert runtime.requests[-1].override_layers == ()


def test_weights_for_some_layers_and_experts_left_out(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "Hold some layers")
    page.get_by_text("Override the weights").click()
    page.locator("#w1 button").click()
    page.locator(".override-layers .from").fill("5")
    page.locator(".override-layers .to").fill("12")
    page.locator(".override-layers .to").press("Tab")
    page.wait_for_function("() => /used in layers 5 to 12/.test(document.querySelector('.override-hint').innerText)")
    page.locator("#again").click()
    page.wait_for_function("() => /in layers 5 to 12/.test(document.querySelector('.beside-head')?.innerText)")
    page.wait_for_selector("#run-view .likely table")
    assert runtime.requests[-1].override == (0, 1, 0, 0, 0)
    assert runtime.requests[-1].override_layers == tuple(range(4, 12))
    page.get_by_role("button", name="leave experts out").click()
    page.locator("#w3 input[type=checkbox]").check()
    page.locator("#again").click()
    page.wait_for_function("() => /^Without math/.test(document.querySelector('.beside-head')?.innerText)")
    page.wait_for_selector("#run-view .likely table")
    assert runtime.requests[-1].pool == ("base", "sentiment", "emotion", "calculator")
    assert runtime.requests[-1].override is None


def test_all_heads_and_the_rollout_are_computed_once_and_can_be_stopped(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "Look at all heads")
    with slowed(runtime, 0.1):  # half a second a layer
        page.locator(".att-mode [data-mode=heads]").click()
        page.wait_for_function("() => /Layer [0-9]+ of 30/.test(document.querySelector('.att-wait-text').innerText)")
        page.locator(".att-stop").click()
        page.wait_for_function("() => /Stopped/.test(document.querySelector('.attention-note').innerText)")
    assert page.locator(".att-wait").is_hidden()
    page.locator(".att-mode [data-mode=rollout]").click()
    page.wait_for_function("() => /Abnar/.test(document.querySelector('.attention-note').innerText)")
    rollout = value_of_canvas(page, "attention-map")
    page.locator(".att-mode [data-mode=heads]").click()
    page.wait_for_function("() => /Layers go down/.test(document.querySelector('.attention-note').innerText)")
    assert value_of_canvas(page, "attention-map") != rollout
    page.locator("#run-view .attention-map").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-view .heads .att-head-button")
    assert page.locator("#run-view .att-layer").input_value() == "10"  # layer 11, counted from 0


def test_text_of_prompts_and_models_is_never_markup(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    run(page, PAYLOAD, "knn")
    page.locator("#run-view .answer .tok").nth(26).click()
    page.get_by_text("Recent runs").click()
    page.wait_for_selector("#recent .recent")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill(PAYLOAD)
    page.locator("#pair-run").click()
    page.wait_for_selector("#vote-2:not([disabled])")
    page.locator("#vote-2").click()
    page.wait_for_selector("#reveal .saved")
    page.locator("#reason-text input, #reason-text textarea").first.fill(PAYLOAD)
    page.locator("#reason-save").click()
    page.get_by_role("tab", name="Labels").click()
    page.wait_for_selector("#labels .rows tbody tr")
    assert page.evaluate("window.__xss") is None
    assert page.locator("#run-view .answer b, #labels .rows img, #recent img, #reveal img").count() == 0
    assert page.locator("#labels .rows").inner_text().count("<img src=x") >= 1


def test_a_vote_is_saved_once_and_can_be_taken_back(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill("A prompt that is voted on twice")
    page.locator("#pair-run").click()
    page.wait_for_selector("#vote-6:not([disabled])")
    page.locator("#vote-6").dblclick()
    page.wait_for_selector("#reveal .saved")
    assert page.locator("#vote-6").is_disabled()
    from playground.store.label_views import current_labels  # noqa: PLC0415  kept beside its use

    def votes() -> list[Any]:
        with runtime.database.read() as session:
            return [row for row in current_labels(session) if row.prompt == "A prompt that is voted on twice"]

    assert len(votes()) == 1
    assert votes()[0].shown_verdict.choice == "b"
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_selector("#vote-6:not([disabled])")
    assert votes() == []
    page.wait_for_function("() => /was taken back/.test(document.querySelector('#pair-state').innerText)")
    assert page.locator("#reveal .saved").count() == 0  # nothing is saved now; who answered stays
    assert page.locator("#reveal .reveal-side").count() == 2
    page.keyboard.press("s")
    page.wait_for_selector("#vote-6[disabled]")
    assert votes()[0].shown_verdict.choice == "skip"
    assert votes()[0].revealed_before


def compared(page: Any, prompt: str) -> None:
    """Compare two answers to `prompt` and call it a tie."""
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill(prompt)
    page.locator("#pair-run").click()
    page.wait_for_selector("#vote-4:not([disabled])")
    page.locator("#vote-4").click()
    page.wait_for_selector("#reveal .saved")


def test_the_same_side_twice_leaves_the_pair_that_is_shown(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill("A pair that stays")
    page.locator("#pair-run").click()
    page.wait_for_selector("#side-b .side[data-state=over]")
    page.wait_for_selector("#vote-4:not([disabled])")
    answers = page.locator("#sides").inner_text()
    page.get_by_text("Who answers").click()
    for side in ("first", "second"):
        page.locator(f"#pair-{side} input").click()
        page.locator(f"#pair-{side}").get_by_role("option", name="expert · Emotion").click()
    page.locator("#pair-run").click()
    page.wait_for_function("() => /Both sides are the same/.test(document.querySelector('#pair-state').innerText)")
    assert page.locator("#sides").inner_text() == answers
    page.locator("#vote-4").click()
    page.wait_for_selector("#reveal .saved")


def test_labels_are_filtered_exported_reopened_and_undone(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    compared(page, "=A label to look at")
    page.wait_for_selector("#side-a .side[data-state=over]")  # the vote may have come before the end
    page.get_by_role("tab", name="Labels").click()
    page.locator("#label-text input, #label-text textarea").first.fill("label to look")
    page.wait_for_function("() => document.querySelectorAll('#labels tbody tr').length === 1")
    with page.expect_download() as waiting:
        page.locator("#labels [data-export=csv]").click()
    exported = waiting.value.path().read_text()
    assert "'=A label to look at" in exported
    assert len(exported.strip().splitlines()) >= 2
    page.locator("#labels tbody .link").click()
    page.wait_for_selector("#pair-run")
    page.wait_for_function("() => /earlier comparison/.test(document.querySelector('#pair-state').innerText)")
    page.wait_for_selector("#side-a .side[data-state=over]")
    assert "Tie" in page.locator("#pair-state").inner_text()
    assert page.locator("#reveal .saved").count() == 0  # nothing was saved just now
    page.wait_for_selector("#pair-votes .vote-row")
    page.get_by_role("tab", name="Labels").click()
    page.locator("#labels [data-undo]").click()
    page.wait_for_function("() => /No label matches|No labels yet/.test(document.querySelector('#labels').innerText)")


def test_the_browser_learns_nothing_of_the_sides_before_the_vote(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    page = open_page(scripted_page[0])
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-run").click()  # a first one, so that what opening the tab loads (the menus) has arrived
    page.wait_for_selector("#side-b .side[data-state=over]")
    page.locator("#pair-prompt textarea").fill("Who is it?")
    page.evaluate(LISTEN)
    page.locator("#pair-run").click()
    page.wait_for_function("() => window.heard.split('finished').length > 2")  # of both sides
    page.wait_for_function("() => /Which is better|the same/.test(document.querySelector('#pair-state').innerText)")
    said = page.evaluate("window.heard")
    assert "found" in said
    for secret in ('"weights"', "calculator", "sentiment", "emotion", "manual", "01run", '"u":['):
        assert secret not in said.lower(), secret


def test_exports_hold_the_run(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    run(page, "Export me", "lora_mixer")
    files = {}
    for kind in ("json", "csv", "png", "svg"):
        with page.expect_download() as waiting:
            page.locator(f"#run-view [data-export={kind}]").click()
        files[kind] = waiting.value.path().read_bytes()
    assert json.loads(files["json"])["events"][0]["prompt"] == "Export me"
    assert files["csv"].startswith(b"\xef\xbb\xbf")  # by which Excel knows the encoding
    assert files["csv"].decode("utf-8-sig").splitlines()[0].startswith("token,text,logprob,entropy,base,sentiment")
    assert files["png"].startswith(b"\x89PNG")
    assert len(ElementTree.fromstring(files["svg"]).findall(".//{*}rect")) > 300


def test_a_replay_ends_as_the_run_did(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    run(page, "Again, please")
    assert page.locator("#run-view .asked").inner_text() == "Again, please"
    end, answer = value_of_canvas(page, "tokens-map"), page.locator("#run-view .answer").inner_html()
    page.evaluate(
        """() => {
          const run = document.querySelector('#run-view .run');
          window.states = [];
          new MutationObserver(() => window.states.push(run.dataset.state)).observe(run, { attributes: true });
        }"""
    )
    page.locator("#run-view .replay").click()
    page.wait_for_function("() => window.states.includes('running') && window.states.at(-1) === 'over'")
    assert value_of_canvas(page, "tokens-map") == end
    assert page.locator("#run-view .answer").inner_html() == answer


def test_stop_keeps_what_has_arrived(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    runtime.delay = 0.15
    try:
        page.locator("#prompt textarea").fill("Stop me")
        page.locator("#run").click()
        page.wait_for_function(
            "() => { const run = document.querySelector('#run-view .run').dataset;"
            " return run.state === 'running' && +run.tokens >= 3; }"
        )
        page.locator("#stop").click()
        page.wait_for_function("() => /stopped at/.test(document.querySelector('.stage-text').innerText)")
        assert 3 <= page.locator("#run-view .answer .tok").count() < 38
        page.get_by_text("Recent runs").click()
        page.locator(".recent", has_text="Stop me").first.click()  # it is listed, and does not look as if more came
        page.wait_for_function("() => /^reopened.*stopped at/.test(document.querySelector('.stage-text').innerText)")
        page.get_by_text("Override the weights").click()
        page.locator("#again").click()  # answers the run that was stopped, not the one before it
        page.wait_for_function("() => document.querySelectorAll('.beside .tok').length >= 3")
        page.locator("#stop").click()
        page.wait_for_function("() => /stopped at/.test(document.querySelector('.beside').innerText)")
    finally:
        runtime.delay = 0.01


def test_a_stop_in_the_first_moment_stops_the_run_that_was_asked_for(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    runtime.delay = 0.15
    try:
        page.locator("#prompt textarea").fill("Stop me at once")
        page.evaluate("() => { for (const id of ['run', 'stop']) document.getElementById(id).click(); }")
        page.wait_for_function("() => /stopped at/.test(document.querySelector('.stage-text').innerText)")
        page.wait_for_function("() => /^Stopped/.test(document.querySelector('#play-status').innerText)")
        page.locator("#prompt textarea").fill("And go on")
        page.locator("#run").click()
        page.wait_for_function("() => +document.querySelector('#run-view .run').dataset.tokens >= 3")
        page.get_by_text("Recent runs").click()
        page.locator("#stop").click()
        page.locator(".recent", has_text="And go on").wait_for()
    finally:
        runtime.delay = 0.01


def test_a_reopened_run_stays_though_another_was_being_written(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "The earlier one")
    page.get_by_text("Recent runs").click()
    runtime.delay = 0.15
    try:
        page.locator("#prompt textarea").fill("The later one")
        page.locator("#run").click()
        page.wait_for_function("() => +document.querySelector('#run-view .run').dataset.tokens >= 1")
        page.locator(".recent", has_text="The earlier one").first.click()
        page.wait_for_function("() => /^reopened/.test(document.querySelector('.stage-text').innerText)")
        page.wait_for_timeout(800)
        assert "reopened" in page.locator(".stage-text").inner_text()
        assert "The earlier one" in page.locator("#run-view .asked").inner_text()
    finally:
        runtime.delay = 0.01


def test_a_vote_is_on_the_comparison_that_is_shown(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    page.get_by_role("tab", name="Compare").click()
    runtime.delay = 0.1
    try:
        page.locator("#pair-prompt textarea").fill("The first pair")
        page.locator("#pair-run").click()
        page.wait_for_selector("#vote-4:not([disabled])")
        page.locator("#pair-prompt textarea").fill("The second pair")
        runtime.delay = 2.0  # so slow that a busy browser sees it too
        page.locator("#pair-run").click()
        page.wait_for_selector("#vote-4[disabled]")  # what could be voted on is gone
        runtime.delay = 0.1
        page.wait_for_selector("#vote-4:not([disabled])")
        page.locator("#vote-4").click()
        page.wait_for_selector("#reveal .saved")
        page.locator("#pair-prompt textarea").fill("The third pair")
        page.locator("#pair-run").click()
        page.wait_for_selector("#side-a .side[data-state=running]")
        page.locator("#pair-votes .vote-row").first.click()  # reopened while the third is written
        page.wait_for_function("() => /earlier comparison/.test(document.querySelector('#pair-state').innerText)")
        page.wait_for_timeout(800)
        assert "earlier comparison" in page.locator("#pair-state").inner_text()
        assert page.locator("#pair-prompt textarea").input_value() == "The second pair"
        assert page.locator("#vote-4").is_enabled()
        assert page.locator("#side-a .side").get_attribute("data-state") == "over"
    finally:
        runtime.delay = 0.01
    with runtime.database.read() as session:
        prompts = [row.prompt for row in current_labels(session)]
    assert prompts[0] == "The second pair"
    assert not {"The first pair", "The third pair"} & set(prompts)


def test_an_undo_that_fails_says_why(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0])
    compared(page, "Taken back elsewhere")
    page.get_by_role("tab", name="Labels").click()
    page.locator("#label-text input, #label-text textarea").first.fill("Taken back elsewhere")
    page.wait_for_function("() => document.querySelectorAll('#labels tbody tr').length === 1")
    page.locator("#labels [data-undo]").click()
    page.wait_for_function("() => /No label matches|No labels yet/.test(document.querySelector('#labels').innerText)")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#vote-undo").click()
    page.wait_for_function("() => /taken back/.test(document.querySelector('#pair-state').innerText)")


def test_nothing_jumps_while_streaming(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "Warm up")
    with slowed(runtime, 0.05):
        page.locator("#prompt textarea").fill("Does it jump?")
        page.locator("#run").click()
        page.wait_for_selector("#run-view .run[data-state=running] .answer .tok")
        page.evaluate(
            """() => {
              window.shift = 0; window.shifted = [];
              new PerformanceObserver(list => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
                window.shift += entry.value;
                for (const { node } of entry.sources) window.shifted.push(node?.className || node?.nodeName);
              } }).observe({ type: 'layout-shift' });
            }"""
        )
        page.wait_for_function("() => document.querySelector('#run-view .run').dataset.state === 'over'")
    assert page.evaluate("window.shift") < 0.02, page.evaluate("window.shifted")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(open_page: Any, scripted_page: tuple[str, Any], theme: str) -> None:
    page = open_page(scripted_page[0], width=390, height=844, theme=theme)
    run(page, "A long prompt " * 30)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#play *')].filter(e => e.offsetParent"
        " && !e.closest('.scroll, .attention-text')).map(e => e.getBoundingClientRect().right))"
    )
    assert widest <= 391


def shown_run(page: Any) -> list[str]:
    """What is seen of the run: its answer, its pictures, its question and the words of the attention text."""
    drawn(page)
    places = (".answers > .answer", ".asked", ".bars-panel .bars", ".stage-text")
    texts = [page.locator(f"#run-view {place}").inner_text() for place in places]
    words = page.locator("#run-view .attention-text").text_content()
    return [*texts, words, *(value_of_canvas(page, name) for name in ("tokens-map", "layers-map", "attention-map"))]


def test_buttons_stay_in_sight_on_a_phone(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    page = open_page(scripted_page[0], width=390, height=844)
    below = "selector => document.querySelector(selector).getBoundingClientRect().bottom"
    page.evaluate("document.querySelector('#prompt').scrollIntoView()")
    assert page.evaluate(below, "#actions") <= 844
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill("On a phone")
    page.locator("#pair-run").click()
    page.wait_for_selector("#vote-4:not([disabled])")
    page.evaluate("window.scrollTo(0, document.querySelector('#sides').getBoundingClientRect().top + scrollY - 500)")
    assert page.evaluate("document.querySelector('#sides').getBoundingClientRect().bottom") > 844  # so they must stick
    assert page.evaluate(below, "#verdicts") <= 844


def test_a_request_that_cannot_run_changes_nothing(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    first = shown_run(page)
    page.locator("#run").click()
    page.wait_for_selector("#play-refusal .trouble")  # the recorded run that was there stays
    assert "The prompt is empty" in page.locator("#play-refusal").inner_text()
    assert shown_run(page) == first
    run(page, "What is 37 * 24 + 15?")
    assert page.locator("#play-refusal .trouble").count() == 0
    page.get_by_text("Override the weights").click()
    page.locator("#again").click()
    page.wait_for_selector("#run-view .likely table")
    seen, beside = shown_run(page), page.locator("#run-view .beside").inner_text()
    page.locator("#prompt textarea").fill("   ")
    page.locator("#run").click()
    page.wait_for_selector("#play-refusal .trouble")
    assert shown_run(page) == seen
    assert page.locator("#run-view .beside").inner_text() == beside
    page.locator("#again").click()  # still answers the run that is shown
    page.wait_for_function("() => /stopped|finished/.test(document.querySelector('.beside-head')?.innerText)")
    assert runtime.requests[-1].prompt == "What is 37 * 24 + 15?"


def test_a_run_that_fails_before_it_begins_leaves_the_one_that_was_shown(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    address, runtime = scripted_page
    page = open_page(address)
    run(page, "The run that stays")
    page.locator("#run-view .answer .tok").nth(7).click()
    seen = shown_run(page)
    runtime.refusal = "This expert was removed just now."
    try:
        page.locator("#prompt textarea").fill("Too late")
        page.locator("#run").click()
        page.wait_for_selector("#run-view .trouble:not([hidden])")
        assert "This expert was removed just now." in page.locator("#run-view .trouble").inner_text()
        assert shown_run(page) == seen
    finally:
        runtime.refusal = ""
    run(page, "The next one")
    assert page.locator("#run-view .trouble").is_hidden()


def test_a_reload_keeps_what_was_typed_chosen_and_looked_at(open_page: Any, scripted_page: tuple[str, Any]) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415  (skipped without it)

    page = open_page(scripted_page[0])
    with closed_stream(page):
        run(page, "The run that was looked at")
    shown = page.locator("#run-view .run").get_attribute("data-run")
    page.locator("#prompt textarea").fill("Not asked yet")
    with closed_stream(page):
        page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-prompt textarea").fill("Not compared yet")
    expect.set_options(timeout=30_000)  # as patient as the page's own waits
    page.reload()  # as the framework does when a lost connection is back
    expect(page.locator("#pair-prompt textarea")).to_have_value("Not compared yet")
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Playground").click()
    expect(page.locator("#prompt textarea")).to_have_value("Not asked yet")
    expect(page.locator("#router select")).to_have_value("lora_mixer")
    expect(page.locator("#run-view .run")).to_have_attribute("data-run", shown)
    expect(page.locator("#run-view .asked")).to_have_text("The run that was looked at")
    with closed_stream(page):
        page.locator("#run").click()  # the page's own state has the text, too
        expect(page.locator("#run-view .asked")).to_have_text("Not asked yet")


def test_an_experts_card_lets_it_alone_answer_until_all_are_let_in(
    open_page: Any, scripted_page: tuple[str, Any]
) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415  (skipped without it)

    expect.set_options(timeout=30_000)  # as patient as the page's own waits
    address, runtime = scripted_page
    page = open_page(address)
    box, chosen = page.locator("#pool"), page.locator("#pool summary")
    expect(chosen).to_contain_text("all 5")  # one of the six is not ready
    page.locator("#router select").select_option("lora_mixer")  # a gate, which could not serve every expert alone
    page.get_by_role("tab", name="Experts").click()
    page.locator('[data-expert="math"] .example').first.click()
    expect(chosen).to_contain_text("1 of 5")
    expect(chosen).to_be_in_viewport()
    expect(chosen).to_be_focused()
    expect(page.locator("#prompt textarea")).to_have_value("Tom has 3 apples and eats one.")
    expect(page.locator("#router select")).to_have_value("knn")
    run(page, "Tom has 3 apples and eats one.", "knn")
    assert page.locator("#run-view .bars .xname").all_inner_texts() == ["Word problems"]
    assert runtime.requests[-1].pool == ("math",)

    box.get_by_label("Calculator").check()
    box.get_by_role("textbox").fill("<i>sums</i>")
    box.get_by_role("button", name="save", exact=True).click()
    box.get_by_role("button", name="use all").click()
    expect(chosen).to_contain_text("all 5")
    with closed_stream(page):
        run(page, "Everybody again", "knn")
    assert runtime.requests[-1].pool is None

    page.reload()
    expect(chosen).to_contain_text("all 5")
    chosen.click()
    box.get_by_role("button", name="<i>sums</i>", exact=True).click()
    expect(chosen).to_contain_text("2 of 5")
    box.get_by_role("button", name="none").click()
    page.locator("#prompt textarea").fill("Nobody is there")
    page.locator("#run").click()
    expect(page.locator("#play-refusal")).to_contain_text("No expert is chosen")
