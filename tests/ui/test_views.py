"""Views: bytes of the stream, escaping, numbers, the palette, what stays blind."""

import base64
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playground.actions.examples import recorded_run
from playground.actions.export import run_csv
from playground.actions.finetune import figures_of
from playground.actions.finetune_outcome import FineTuned
from playground.core.events import Event, Failed, PromptRead, RunStarted, TokenGenerated, events_to_json, to_dict
from playground.core.fold import ViewState, fold_all
from playground.core.preferences import Verdict
from playground.core.records import VersionInfo
from playground.core.route_measures import consent, entropy, overlap
from playground.core.values import EVIDENCE, Neighbours, RunRequest, Scores, Text
from playground.learn.labels.metrics import BeforeAfter, Figure, as_metrics
from playground.learn.labels.trainer import RoutingChange
from playground.ui import format as words
from playground.ui.palette import PALETTE, Look, looks
from playground.ui.views.compare import reveal_html, saved_sentence
from playground.ui.views.finetune import metrics_html, outcome_html
from playground.ui.views.named import chip, daily_use, weight_bars
from playground.ui.views.versions import version_html, versions_html
from playground.ui.views.why import DRAWINGS, why_html
from playground.ui.wire import blind_line, line, lines, opening, packed

# the browser's formatters are tested on the same cases
CASES = json.loads((Path(__file__).parents[1] / "js" / "format-cases.json").read_text("utf-8"))
PAYLOAD = "<img src=x onerror=alert(1)>\"'"


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(part) for part in text.splitlines()]


def test_each_event_is_one_line_and_weights_are_bytes(gate_events: list[Event], runtime: Any) -> None:
    made = records(lines(gate_events, runtime.pool))
    assert [item["kind"] for item in made[:3]] == ["started", "decided", "prompt"]
    assert len(made) == len(gate_events)
    token = next(event for event in gate_events if isinstance(event, TokenGenerated))
    sent = next(item for item in made if item["kind"] == "token")
    layers = np.frombuffer(base64.b64decode(sent["layers"]), np.uint8).reshape(30, 5)
    assert token.layer_weights is not None
    assert np.abs(layers / 255 - token.layer_weights.astype(float)).max() <= 0.5 / 255 + 1e-6
    assert len(line(token, runtime.pool)) < 700


def test_a_gates_tokens_carry_their_measures(gate_events: list[Event], runtime: Any) -> None:
    made = records(lines(gate_events, runtime.pool))
    token = next(event for event in gate_events if isinstance(event, TokenGenerated))
    sent = next(item for item in made if item["kind"] == "token")
    assert token.layer_weights is not None
    nats = entropy(token.layer_weights)
    measures = [nats.mean(), overlap(token.layer_weights), consent(token.layer_weights)]
    assert sent["leader"] == token.weights.argmax()
    assert sent["measures"] == pytest.approx(list(map(float, measures)), abs=6e-4)
    evenness = np.frombuffer(base64.b64decode(sent["layer_entropy"]), np.uint8) / 255
    assert evenness * np.log(5) == pytest.approx(nats, abs=0.01)
    read = next(item for item in made if item["kind"] == "prompt")
    assert len(read["measures"]) == len(read["leaders"]) == len(read["tokens"])
    assert len(base64.b64decode(read["layers"])) == len(read["tokens"]) * 30 * 5


def test_of_a_long_prompt_the_end_travels_layer_by_layer(runtime: Any) -> None:
    layered = np.full((2000, 30, 5), 0.2, np.float16)
    [sent] = records(line(PromptRead(("a",) * 2000, layered, run_id="r", seq=1, at=0.0), runtime.pool))
    assert len(sent["measures"]) == 800
    assert len(base64.b64decode(sent["layers"])) == 800 * 150
    assert len(base64.b64decode(sent["weights"])) == 2000 * 5


def test_a_csv_has_a_row_for_each_token_of_prompt_and_answer(gate_events: list[Event]) -> None:
    state = fold_all(gate_events)
    rows = list(csv.DictReader(io.StringIO(run_csv(state).removeprefix("\ufeff"))))
    assert state.prompt_read is not None
    assert len(rows) == len(state.prompt_read.tokens) + len(state.tokens)
    assert [row["token"] for row in rows[:2]] == ["p1", "p2"]
    first = next(row for row in rows if row["token"] == "1")
    assert state.tokens[0].layer_weights is not None
    assert float(first["layer_agreement"]) == pytest.approx(float(overlap(state.tokens[0].layer_weights)), abs=1e-4)
    assert sum(int(row["switch"]) for row in rows if row["token"].isdigit()) >= 1


def test_packing_survives_what_is_no_number() -> None:
    packed_text = packed(np.array([np.nan, -1.0, 0.5, 2.0]))
    assert packed_text is not None
    assert list(base64.b64decode(packed_text)) == [0, 0, 128, 255]


def test_a_line_break_in_a_token_does_not_break_a_line(gate_events: list[Event], runtime: Any) -> None:
    text = "".join(line(event, runtime.pool) for event in gate_events)
    assert "\n" in [item.get("text") for item in records(text)]
    assert opening("a") != opening("b")


def test_a_blind_line_tells_only_the_text(gate_events: list[Event]) -> None:
    failed = Failed(stage="math adapter", message="calculator broke", remedy="x", run_id="r", seq=1, at=0.0)
    for event in [*gate_events, failed]:
        for item in records(blind_line(event)):
            assert set(item) <= {"kind", "text", "cut", "message", "remedy"}
            if not isinstance(event, TokenGenerated):
                assert "calculator" not in json.dumps(item)
    assert records(blind_line(next(e for e in gate_events if isinstance(e, RunStarted)))) == [{"kind": "side"}]


def test_every_kind_of_evidence_is_drawn_and_escaped(runtime: Any) -> None:
    assert set(DRAWINGS) == set(EVIDENCE)
    drawn = [
        why_html(Text(PAYLOAD), runtime.pool),
        why_html(Neighbours(PAYLOAD, (PAYLOAD,), (0.5,), (PAYLOAD,)), runtime.pool),
        why_html(Scores(PAYLOAD, (0.1, -2.0), ((PAYLOAD, 0.3),)), runtime.pool),
    ]
    for html in drawn:
        assert "<img" not in html
        assert "&lt;img" in html


@pytest.mark.parametrize("case", CASES["percents"])
def test_spoken_percents_are_the_drawn_ones(case: dict[str, Any]) -> None:
    assert words.percents(case["weights"]) == case["shown"]


@pytest.mark.parametrize("case", CASES["durations"])
def test_times_in_sentences_are_the_drawn_ones(case: dict[str, Any]) -> None:
    assert words.duration(case["seconds"]) == case["shown"]


def test_percents_sum_to_a_hundred() -> None:
    for weights in np.random.default_rng(0).dirichlet(np.ones(9), size=20):
        shown = words.percents(weights)
        assert sum(int(text.strip("<%")) for text in shown if not text.startswith("<")) == 100


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.points(-0.018, -0.03, 0.002), "−1.8 pts [−3.0, +0.2]"),
        (words.probability(0.5811), "0.581"),
        (words.probability(float("nan")), "–"),
        (words.noise_words(-0.1, 0.2), "within noise"),
        (words.noise_words(0.1, 0.2), "beyond noise"),
        (words.count(9999), "9,999"),
        (words.count(12345), "12.3k"),
        (words.age(datetime.now(UTC) - timedelta(minutes=3)), "3 min ago"),
        (words.shortened("a\nb " * 40, 10), "a b a b a…"),
    ],
)
def test_numbers_are_written_as_agreed(shown: str, expected: str) -> None:
    assert shown == expected


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_palette_is_readable_in_both_modes() -> None:
    for colour in PALETTE:
        assert contrast(colour.fill, "#ffffff") >= 3.0
        assert contrast(colour.fill, "#18181b") >= 3.0
        assert contrast(colour.fill, colour.ink) >= 4.5
    assert len({colour.fill for colour in PALETTE}) == 10
    assert all(one.fill != other.fill for one, other in combinations(PALETTE, 2))


def test_elements_carry_hostile_titles_as_data() -> None:
    look = Look(PAYLOAD, PAYLOAD, PAYLOAD[:3], 1, "lora")
    for html in (chip(look), weight_bars([look], [1.0], [0]), daily_use(1, days=[PAYLOAD])):
        assert "<img" not in html
        assert html.count("<") == 2  # one element, opened and closed
        assert "'" not in html


def test_an_expert_that_left_still_has_a_mark(runtime: Any) -> None:
    look = looks(["math", "gone"], runtime.pool)
    assert (look[0].mark, look[0].slot) == ("Ma", 3)
    assert (look[1].mark, look[1].slot) == ("Go", -1)


def test_a_recorded_run_is_read_back_and_a_damaged_one_is_no_obstacle(gate_events: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "examples" / "run.json"
    assert recorded_run(path) == []
    path.parent.mkdir()
    path.write_text(events_to_json(gate_events), encoding="utf-8")
    assert [to_dict(event) for event in recorded_run(path)] == [to_dict(event) for event in gate_events]
    path.write_text('{"events": [{"event": "Nothing"}]}')
    assert recorded_run(path) == []


def forced_to(runtime: Any, expert: str, *, answered: str = "") -> ViewState:
    """A run in which `expert` had to answer; another one answered in its place when it could not."""
    names = ("base", "sentiment", "emotion", "math", "calculator")
    asked = fold_all(runtime.events(RunRequest("Which?", "manual", override=[name == expert for name in names])))
    if not answered:
        return asked
    other = fold_all(runtime.events(RunRequest("Which?", "manual", override=[name == answered for name in names])))
    return replace(other, decided=asked.decided, tools=tuple(replace(tool, ok=False) for tool in asked.tools))


def test_the_reveal_credits_who_answered_not_the_tool_that_could_not(gate_events: list[Event], runtime: Any) -> None:
    refused = forced_to(runtime, "calculator", answered="base")
    html = reveal_html([refused, fold_all(gate_events)], Verdict.B_MUCH, runtime.pool)
    assert "You preferred lora_mixer over Base model (in place of Calculator)." in html
    assert "in place of Calculator, which could not answer this" in html
    told = saved_sentence([refused, forced_to(runtime, "math")], Verdict.A_MUCH, runtime.pool)
    assert told == "Saved ✓ You preferred Base model (in place of Calculator) over Word problems."
    told = saved_sentence([refused, forced_to(runtime, "base")], Verdict.TIE, runtime.pool)
    assert told == "Saved ✓ A tie between Base model (in place of Calculator) and Base model."
    told = saved_sentence([forced_to(runtime, "calculator"), forced_to(runtime, "base")], Verdict.A_MUCH, runtime.pool)
    assert told == "Saved ✓ You preferred Calculator over Base model."


def test_nothing_is_called_saved_without_a_vote(runtime: Any) -> None:
    states = [forced_to(runtime, "math"), forced_to(runtime, "base")]
    html = reveal_html(states, None, runtime.pool)
    assert "Saved" not in html
    assert "preferred" not in html
    assert html.count("reveal-side") == 2


LOSS_ROSE = BeforeAfter(
    Figure(0.693, 0.693, 0.693, 60), Figure(0.703, 0.698, 0.708, 60), Figure(-0.01, -0.015, -0.005, 60)
)


def version(**changes: Any) -> VersionInfo:
    """A draft of a router whose figures got worse, as it is stored."""
    worse = BeforeAfter(Figure(0.5, 0.5, 0.5, 60), Figure(0.429, 0.3, 0.5, 60), Figure(-0.071, -0.2, 0.0, 60))
    metrics = as_metrics({"label_accuracy": worse, "log_loss": LOSS_ROSE}) | {"moved": 12, "probes": 87, "kl": 0.2}
    made = datetime(2026, 1, 1, tzinfo=UTC)
    first = VersionInfo("linear-2", "linear", "prompt", "linear-1", made, "DPO on <b>60</b> labels", metrics)
    return replace(first, **changes)


def test_a_loss_that_rose_is_no_gain() -> None:
    html = metrics_html({"log_loss": LOSS_ROSE})
    assert "−0.010 [−0.015, −0.005]" in html
    assert "+0.010" not in html


def test_a_version_shows_its_figures_and_asks_before_it_is_used() -> None:
    html = version_html(version(), figures_of(version()))
    assert "0.429" in html
    assert "−7.1 pts" in html
    assert "It agrees less with the held-out labels than the version before: −7.1 pts." in html
    assert "12 of 87 test prompts went to another expert" in html
    assert "<b>60" not in html
    current = version(state="current")
    assert "Use it" not in version_html(current, figures_of(current))
    shipped = version_html(version(metrics={}), {})
    assert "agrees less" not in shipped
    assert "No figures are stored" in shipped


def test_a_version_that_stored_a_rising_loss_as_a_gain_is_read_right() -> None:
    stored = as_metrics({"log_loss": LOSS_ROSE})
    stored["log_loss"]["gain"] = {"value": 0.01, "low": 0.005, "high": 0.015, "n": 60}  # after minus before
    assert figures_of(version(metrics=stored)) == {"log_loss": LOSS_ROSE}


def test_pressing_promote_in_the_list_names_a_version_and_does_nothing_else() -> None:
    html = versions_html([version(id='a"b'), version(id="now", state="current")])
    assert html.count('data-id="a&quot;b"') == 2  # its name and the button
    assert html.count('data-id="now"') == 1


def test_before_and_after_says_when_there_is_too_little(runtime: Any) -> None:
    few = BeforeAfter(Figure(0.5, 0.5, 0.5, 2), Figure(1.0, 1.0, 1.0, 2), Figure(0.5, 0.5, 0.5, 2))
    many = BeforeAfter(Figure(0.5, 0.4, 0.6, 60), Figure(0.6, 0.5, 0.7, 60), Figure(0.1, -0.02, 0.2, 60))
    change = RoutingChange(PAYLOAD, ("base", "math"), np.array([0.9, 0.1]), np.array([0.2, 0.8]), 0.7)
    result = FineTuned(
        version="v2", parent="v1", router="linear", metrics={"label_accuracy": few, "ranking_accuracy": many},
        changed=(change,), moved=1, probes=43, kl=0.1, beta=0.1, counts={"train": 3},
    )  # fmt: skip
    html = outcome_html(result, runtime.pool)
    assert "too few to tell" in html
    assert "within noise" in html
    assert "+10.0 pts [−2.0, +20.0]" in html
    assert "Your labels moved 1 of 43 test prompts" in html
    assert "The list shows 1 prompt with the largest changes. 1 of them went to another expert." in html
    assert "<img" not in html
