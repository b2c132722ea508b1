"""Collecting without a browser: consent, sittings, late votes, the queue, repeats, checks, and what is judged."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from playground.actions import collecting, compare, vote
from playground.actions.compare import OpenComparison, judged
from playground.core.integrity import CHECK, REPEAT
from playground.core.preferences import Verdict
from playground.errors import InvalidRequest, NotPermitted
from playground.store.label_views import count_usable, current_labels, labelled_pairs
from playground.store.tables import RouterVersionRow

HANDLE = "a-visitor-of-tests"


def shown(runtime: Any, first: str = "expert:math", second: str = "expert:base", prompt: str = "Which?") -> Any:
    opened = compare.open_comparison(runtime, prompt, first, second, tokens=8)
    list(compare.decoded(runtime, opened, "s"))
    return opened


def rows(runtime: Any) -> list[Any]:
    with runtime.database.read() as session:
        return current_labels(session)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("expert:math", "expert:base", "expert"),
        ("router:knn", "router:linear", "router"),
        ("router:knn", "version:knn:knn-2", "version"),
        ("version:knn:knn-1", "version:linear:linear-1", "router"),
        ("expert:math", "router:knn", "mixed"),
    ],
)
def test_what_a_vote_judges(first: str, second: str, wanted: str) -> None:
    assert judged(first, second) == judged(second, first) == wanted


def test_two_routers_are_judged_under_one_budget_and_stored_so(runtime: Any) -> None:
    opened = shown(runtime, compare.RANDOM_ROUTERS, compare.RANDOM_ROUTERS)
    one, two = opened.requests
    assert one.router != two.router
    assert (one.pool, one.sampling) == (two.pool, two.sampling)
    assert opened.propensity == pytest.approx(1 / 6)  # four routers are ready
    collecting.cast(runtime, opened, Verdict.A, HANDLE)
    row = rows(runtime)[0]
    assert (row.judged, {row.a.router, row.b.router}) == ("router", {one.router, two.router})


def test_versions_of_a_router_are_offered_and_asked_for(runtime: Any) -> None:
    shown(runtime, "router:knn", "expert:base")
    assert not [name for _, name in compare.contenders(runtime) if name.startswith("version:")], "there is only one"
    with runtime.database.write() as session:
        session.add(RouterVersionRow(id="knn-draft", router="knn", level="prompt"))
    offered = [name for _, name in compare.contenders(runtime) if name.startswith("version:")]
    assert sorted(offered) == ["version:knn:knn-draft", "version:knn:knn-shipped-1a2b3c4d"]
    asked = compare.open_comparison(runtime, "Which?", *offered, tokens=8)
    assert {request.version for request in asked.requests} == {"knn-draft", "knn-shipped-1a2b3c4d"}
    assert asked.judged == "version"


def test_nothing_is_stored_before_the_notice_is_agreed_to(runtime: Any) -> None:
    runtime.settings.label_licence = "CC-BY-4.0"
    opened = shown(runtime)
    assert "CC-BY-4.0" in collecting.notice(runtime.settings)
    with pytest.raises(NotPermitted, match="not saved yet"):
        collecting.cast(runtime, opened, Verdict.A, HANDLE)
    assert rows(runtime) == []
    collecting.agree(runtime, HANDLE)
    collecting.agree(runtime, HANDLE)
    assert not collecting.needs_consent(runtime, HANDLE)
    collecting.cast(runtime, opened, Verdict.A, HANDLE)
    runtime.settings.label_licence = "CC0-1.0"
    assert collecting.needs_consent(runtime, HANDLE), "another licence is asked for again"


def test_a_sitting_counts_what_is_in_force_and_goes_on_where_it_stopped(runtime: Any) -> None:
    assert collecting.sitting(runtime, HANDLE) is None
    runtime.settings.session_goal = 2
    opened = shown(runtime)
    collecting.cast(runtime, opened, Verdict.A, HANDLE)
    assert collecting.sitting(runtime, HANDLE).done == 1
    vote.take_back(runtime, opened, HANDLE)
    assert collecting.sitting(runtime, HANDLE).done == 0
    collecting.cast(runtime, opened, Verdict.B, HANDLE)
    collecting.cast(runtime, shown(runtime, prompt="Another?"), Verdict.B, HANDLE)
    reached = collecting.sitting(runtime, HANDLE)
    assert (reached.done, reached.is_reached) == (2, True)
    collecting.finish(runtime, HANDLE)
    assert collecting.sitting(runtime, HANDLE).done == 0


def test_a_late_vote_counts_once_however_often_it_arrives(runtime: Any) -> None:
    opened = shown(runtime)
    kept = {"id": opened.id, "votes": 0, "key": "1"}
    stored, refused = collecting.cast_late(runtime, [kept, kept], HANDLE)
    assert (list(stored), refused) == ([f"{opened.id}:0"], [])
    vote.judge(runtime, opened, Verdict.B, HANDLE)  # the click arrives after all
    assert [row.shown_verdict for row in rows(runtime)] == [Verdict.A_MUCH]
    with runtime.database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM label").scalar() == 1
    assert collecting.cast_late(runtime, [{"id": "nowhere", "votes": 0, "key": "1"}], HANDLE)[1] == ["nowhere:0"]


def test_aspects_are_stored_for_what_was_shown(runtime: Any) -> None:
    runtime.settings.vote_aspects = "helpful, style"
    opened = shown(runtime)
    label = collecting.cast(runtime, opened, Verdict.A, HANDLE)
    collecting.judge_aspects(runtime, label, {"helpful": 2})
    row = rows(runtime)[0]
    assert row.aspects == {"helpful": 2 if row.left == "a" else -2}
    with pytest.raises(InvalidRequest, match="already"):
        collecting.judge_aspects(runtime, label, {"helpful": -1})
    with pytest.raises(InvalidRequest):
        collecting.judge_aspects(runtime, label, {"colour": 1})


def test_prompts_come_from_where_the_host_says(runtime: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("First?\n\nSecond?\n", "utf-8")
    runtime.settings.prompt_queue = str(file)
    assert {collecting.next_prompt(runtime) for _ in range(40)} == {"First?", "Second?"}
    shown(runtime, prompt="A visitor's?")
    runtime.settings.prompt_queue = "visitors"
    assert collecting.next_prompt(runtime) == "A visitor's?"
    runtime.settings.prompt_queue = str(tmp_path / "none.txt")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        collecting.next_prompt(runtime)


def test_a_repeat_comes_after_others_with_exchanged_sides_and_does_not_count(runtime: Any) -> None:
    runtime.settings.repeat_share = 0.5
    first = shown(runtime, prompt="The first?")
    collecting.cast(runtime, first, Verdict.A, HANDLE)
    for number in range(collecting.REPEAT_GAP):
        assert collecting._repeat(runtime, HANDLE) == ""
        collecting.cast(runtime, shown(runtime, prompt=f"Number {number}?"), Verdict.A, HANDLE)
    again = next(found for _ in range(99) if (found := collecting.hidden(runtime, HANDLE)))
    assert [state.run_id for state in again.states] == [state.run_id for state in reversed(first.states)]
    assert not again.is_revealed
    with runtime.database.read() as session:
        before = count_usable(session)[0], len(labelled_pairs(session))
    label = collecting.cast(runtime, again, Verdict.B, HANDLE)
    assert collecting.standing(runtime, label).reason == REPEAT
    with runtime.database.read() as session:
        assert (count_usable(session)[0], len(labelled_pairs(session))) == before
    assert collecting.integrity(runtime).reasons == {REPEAT: 1}


def test_a_check_has_fair_sides_is_asked_once_and_is_told(runtime: Any, tmp_path: Path) -> None:
    file = tmp_path / "checks.jsonl"
    known = [{"prompt": f"What is {n} + 1?", "better": f"{n + 1}.", "worse": "Bananas."} for n in range(12)]
    file.write_text("\n".join(map(json.dumps, known)), "utf-8")
    left: Counter[str] = Counter()
    for _ in known:
        made = collecting._check(runtime, file, HANDLE)
        opened: OpenComparison = vote.from_store(runtime, made, HANDLE)
        is_left = opened.states[1].answer == "Bananas."
        left[str(is_left)] += 1
        label = collecting.cast(runtime, opened, Verdict.A if is_left else Verdict.B, HANDLE)
    assert collecting._check(runtime, file, HANDLE) == "", "each is asked once"
    assert len(left) == 2
    found = collecting.standing(runtime, label)
    assert (found.reason, found.attention) == (CHECK, "good")
    file.write_text('{"prompt": "no answers"}\n', "utf-8")
    with pytest.raises(InvalidRequest, match="Line 1"):
        collecting._check(runtime, file, HANDLE)
