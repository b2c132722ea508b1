"""The experts that a browser sends become the pool of a run. Anything else is refused."""

import json
from typing import Any

import pytest

from playground.actions.ask import checked_prompt, read_pool
from playground.errors import InvalidRequest
from playground.ui.views.experts import pool_choices

READY = ["base", "sentiment", "emotion", "math", "calculator"]  # of the scripted pool, which also has "units"


def test_all_that_are_ready_leave_the_pool_open(runtime: Any) -> None:
    assert [look["name"] for look in pool_choices(runtime.pool) if look["ready"]] == READY
    for everything in (None, "", json.dumps(READY), json.dumps(READY[::-1])):
        assert read_pool(runtime.pool, everything) is None


def test_some_are_the_pool_in_its_order_and_once_each(runtime: Any) -> None:
    assert read_pool(runtime.pool, '["math", "base", "math"]') == ("base", "math")
    assert read_pool(runtime.pool, json.dumps(["math"] * len(READY))) == ("math",)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[]", "No expert is chosen. Tick at least one"),
        ('["nobody"]', "'nobody'"),
        ('["math", "units"]', "'units' is ready. Choose among: base,"),  # in the pool, but its library is missing
        ('["math", ["base"]]', "No expert called"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"math": 1}', "No expert is chosen"),
        (7, "No expert is chosen"),
    ],
)
def test_what_is_no_choice_is_refused(runtime: Any, value: Any, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_pool(runtime.pool, value)
    assert told in str(caught.value)
    assert len(caught.value.message) < 120


def test_half_a_pair_of_a_broken_paste_is_replaced() -> None:
    text, _ = checked_prompt("see \ud83d here", 100)
    assert text == "see ? here"
