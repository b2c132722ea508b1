"""Folding: in pieces as at once, live as reopened, and what a state says of itself."""

import dataclasses
import functools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from playground.core.events import Event, Failed, Finished, from_dict, to_dict
from playground.core.fold import ViewState, fold, fold_all
from playground.core.values import RunRequest
from playground.store.runs import load_events
from playground.ui.wire import lines


def same(one: Any, other: Any) -> bool:
    """Return whether two states hold equal values, arrays included."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    return bool(one == other)


def test_folding_in_pieces_equals_folding_at_once(gate_events: list[Event]) -> None:
    whole = fold_all(gate_events)

    @given(st.lists(st.integers(0, len(gate_events)), max_size=4))
    def pieces(cuts: list[int]) -> None:
        state, last = ViewState(), 0
        for cut in [*sorted(cuts), len(gate_events)]:
            state = functools.reduce(fold, gate_events[last:cut], state)
            last = cut
        assert same(state, whole)

    pieces()


def test_a_reopened_run_draws_the_same_lines(runtime: Any) -> None:
    live = list(runtime.run(RunRequest("Two and two?", "lora_mixer")))
    with runtime.database.read() as session:
        stored = load_events(session, live[0].run_id)
    assert lines(stored, runtime.pool) == lines(live, runtime.pool)
    assert lines([from_dict(to_dict(event)) for event in live], runtime.pool) == lines(live, runtime.pool)


def test_weights_are_the_best_that_is_known(gate_events: list[Event]) -> None:
    state = ViewState()
    assert state.weights is None
    assert state.top_expert == ""
    for event in gate_events:
        state = fold(state, event)
        if state.decided is not None and not state.tokens:
            assert state.weights is state.decided.weights
        if len(state.tokens) == 2 and not state.is_over:
            np.testing.assert_allclose(state.weights, (state.tokens[0].weights + state.tokens[1].weights) / 2)
    finished = gate_events[-1]
    assert isinstance(finished, Finished)
    assert state.weights is finished.usage
    assert state.answer == finished.text
    assert state.layer_weights_shape == (38, 30, 5)


def test_a_failure_keeps_what_had_arrived(gate_events: list[Event]) -> None:
    failed = Failed(stage="decoding", message="It broke.", remedy="Try again.", run_id="r", seq=99, at=1.0)
    state = fold_all([*gate_events[:8], failed])
    assert state.is_over
    assert state.answer == " The answer is found by"
