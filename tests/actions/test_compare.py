"""Comparisons without a browser: order by lot, early votes, failed sides, one label per showing."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from playground.actions import ask, ask_again, compare, identity, vote
from playground.actions.compare import OpenComparison, open_comparison
from playground.core.events import Event, Failed, Finished
from playground.core.preferences import Verdict
from playground.core.values import RunRequest
from playground.errors import InvalidRequest, NotPermitted
from playground.settings import Settings
from playground.store.label_views import current_labels
from playground.store.runs import load_events

HANDLE = "a-visitor-of-tests"


def opened(runtime: Any, first: str = "expert:math", second: str = "expert:base") -> OpenComparison:
    return open_comparison(runtime, "Which?", first, second, tokens=30)


def test_sides_and_pairs_are_drawn_by_lot(runtime: Any) -> None:
    left: Counter[int] = Counter()
    pairs: Counter[frozenset[int]] = Counter()
    for _ in range(400):
        left[opened(runtime).requests[0].override.index(1.0)] += 1  # type: ignore[union-attr]
        drawn = opened(runtime, "random", "random")
        pairs[frozenset(request.override.index(1.0) for request in drawn.requests)] += 1  # type: ignore[union-attr]
        assert drawn.propensity == pytest.approx(0.1)
        assert drawn.selection == "uniform"
    assert set(left) == {0, 3}
    assert 140 < left[0] < 260
    assert len(pairs) == 10


@pytest.mark.parametrize("chosen", ["expert:math", "router:knn"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_side_that_was_chosen_stays_when_the_other_is_random(runtime: Any, chosen: str, is_first: bool) -> None:
    experts = ("base", "sentiment", "emotion", "math", "calculator")  # in the order of the weights
    rivals, left = Counter[str](), Counter[bool]()
    for _ in range(120):
        drawn = opened(runtime, *((chosen, "random") if is_first else ("random", chosen)))
        names = [
            f"expert:{experts[request.override.index(1.0)]}" if request.override else f"router:{request.router}"
            for request in drawn.requests
        ]
        left[names[0] == chosen] += 1
        names.remove(chosen)
        rivals[names[0]] += 1
        assert (drawn.selection, drawn.propensity) == ("manual", None)  # a person chose half of it
    assert set(rivals) == {f"expert:{name}" for name in experts} - {chosen}
    assert min(left.values()) > 30


def test_the_same_side_twice_is_refused_unless_both_are_drawn(runtime: Any) -> None:
    for name in ("expert:math", "router:knn"):
        with pytest.raises(InvalidRequest, match="Both sides are the same"):
            opened(runtime, name, name)
    one, two = opened(runtime, "random", "random").requests
    assert one.override != two.override


def test_a_vote_is_stored_in_terms_of_what_was_shown(runtime: Any) -> None:
    for key, choice in (("1", "a"), ("7", "b"), ("4", "tie"), ("0", "bad")):
        comparison = opened(runtime)
        list(compare.decoded(runtime, comparison, "s"))
        label = vote.judge(runtime, comparison, vote.read_verdict(key), HANDLE)
        assert vote.judge(runtime, comparison, vote.read_verdict("4"), HANDLE) == label  # a double click counts once
        with runtime.database.read() as session:
            row = current_labels(session, label_id=label)[0]
        assert row.shown_verdict.choice == choice
        shown = row.a if row.left == "a" else row.b
        assert shown.run_id == comparison.states[0].run_id


def test_an_early_vote_stops_both_and_waits_until_they_are_stored(runtime: Any) -> None:
    runtime.delay = 0.02
    comparison = opened(runtime)
    thread = threading.Thread(target=lambda: list(compare.decoded(runtime, comparison, "s")))
    thread.start()
    while not comparison.is_votable:
        thread.join(0.01)
    assert not any(state.is_over for state in comparison.states)
    label = vote.judge(runtime, comparison, vote.read_verdict("1"), HANDLE)
    thread.join(5)
    with runtime.database.read() as session:
        row = current_labels(session, label_id=label)[0]
        stored = [load_events(session, state.run_id)[-1] for state in comparison.states]
    for end in stored:  # the trace waits for no more
        assert isinstance(end, Finished)
        assert end.reason == "cancelled"
    assert 0 < len(row.a.text) < 180
    assert row.source_detail["tokens_seen"][0] < 30


class Broken:
    """A runtime whose second side fails."""

    def __init__(self, whole: Any) -> None:
        self.database, self.pool, self.settings = whole.database, whole.pool, whole.settings
        self.routers, self._whole = whole.routers, whole

    def run_pair(self, first: RunRequest, second: RunRequest, *, session_id: str = "") -> Iterator[Event]:
        yield from self._whole.run(first)
        other = list(self._whole.events(second))[:4]
        yield from other
        yield Failed(run_id=other[0].run_id, seq=9, at=1.0, stage="decoding", message="It broke.", remedy="Try again.")


def test_a_failed_side_cannot_be_judged(runtime: Any) -> None:
    broken: Any = Broken(runtime)
    comparison = opened(runtime)
    list(compare.decoded(broken, comparison, "s"))
    assert comparison.has_failed
    assert not comparison.is_votable
    with pytest.raises(InvalidRequest, match="cannot be judged"):
        vote.judge(broken, comparison, vote.read_verdict("1"), HANDLE)


def test_only_ones_own_vote_can_be_taken_back(runtime: Any) -> None:
    comparison = opened(runtime)
    list(compare.decoded(runtime, comparison, "s"))
    label = vote.judge(runtime, comparison, vote.read_verdict("2"), HANDLE)
    with pytest.raises(NotPermitted):
        vote.undo_label(runtime, label, "somebody-else-here")
    vote.take_back(runtime, comparison, HANDLE)
    assert vote.own_labels(runtime, HANDLE) == []


@pytest.mark.parametrize("name", ["", "expert:", "expert:units", "expert:nobody", "router:nobody", "math", "../x"])
def test_unknown_contenders_are_refused(runtime: Any, name: str) -> None:
    with pytest.raises(InvalidRequest):
        opened(runtime, name, "expert:base")


def test_both_sides_must_differ(runtime: Any) -> None:
    with pytest.raises(InvalidRequest, match="same"):
        opened(runtime, "expert:base", "expert:base")


def test_a_verdict_is_known_by_key_and_by_choice() -> None:
    assert vote.read_verdict("3") is Verdict.A_SLIGHTLY
    assert vote.read_verdict("B") is Verdict.B
    assert vote.read_verdict("skip") is Verdict.SKIP
    with pytest.raises(InvalidRequest):
        vote.read_verdict("not a key")


def test_what_a_browser_sends_is_checked(runtime: Any) -> None:
    assert ask.checked_prompt("  hi ", 10) == ("hi", "")
    assert ask.checked_prompt("x" * 100_000, 50)[0] == "x" * 50
    for bad in (None, "", "   \n"):
        with pytest.raises(InvalidRequest):
            ask.checked_prompt(bad, 10)
    with pytest.raises(InvalidRequest):
        ask.read_sampling("hot")
    with pytest.raises(InvalidRequest):
        ask.read_serve("everything")
    assert ask.read_observe(0, 3) is None
    request = RunRequest("p", "knn")
    names = runtime.pool.select([expert.name for expert in runtime.pool.experts if expert.ready])
    assert ask_again.overriding(request, [0, 0, 0, 50, 50], names).override == (0.0, 0.0, 0.0, 0.5, 0.5)
    assert ask_again.overriding(request, [0, 0, 0, 1, 9], names).serve == "top"
    assert ask_again.overriding(request, [0, 0, 0, 9, 1], names).serve == "mix"
    with pytest.raises(InvalidRequest):
        ask_again.overriding(request, [0] * 10, names)


def test_handles_and_rights() -> None:
    assert identity.handle_of("abc") != identity.handle_of("abc")
    assert identity.handle_of("a-good-handle-1") == "a-good-handle-1"
    assert identity.session_of("a-good-handle-1") not in ("a-good-handle-1", "")
    free, locked = Settings(admin_password=""), Settings(admin_password="secret")
    assert identity.may_administer(free, "")
    assert not identity.may_administer(locked, "")
    assert not identity.may_administer(locked, "Secret")
    assert identity.may_administer(locked, "secret")
    with pytest.raises(NotPermitted):
        identity.require_admin(locked, "")
