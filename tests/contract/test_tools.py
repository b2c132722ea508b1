"""Every registered tool keeps the contract of tools: a new file in experts/tools gets these tests by itself."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.core.events import TokenGenerated, ToolCalled
from playground.core.plugins import NAME
from playground.core.values import Expert
from playground.experts.adapters.cards import Card
from playground.experts.base import OUTSIDE, TOOLS, AnswerRequest, Tool
from playground.experts.catalogue import load_answerers, load_catalogue
from playground.settings import ROOT

LIMIT_S = 2.0
NOT_ITS_BUSINESS = {
    "empty": "",
    "blank": " \t\n ",
    "nonsense": "purple monkey dishwasher",
    "poem": "Write a poem about the sea in winter.",
}
HOSTILE = {
    "huge": "a" * 100_000,
    "words": "word " * 20_000,
    "digits": "9" * 100_000,
    "deep": "(" * 10_000 + "1" + ")" * 10_000,
    "tower": "9**9**9**9",
    "code": "__import__('os').system('ls')",
    "markup": "<script>alert(1)</script>",
    "odd": "🦜 \u202e \x00 \ud800 ﷽",
    "format": "{0} {self.__class__} %s %n",
}


@pytest.fixture(params=list(TOOLS), scope="module")
def tool(request: pytest.FixtureRequest) -> Iterator[Tool]:
    made = load_answerers()[request.param]
    assert isinstance(made, Tool)
    yield made
    made.close()


def test_no_tool_file_is_broken() -> None:
    assert TOOLS.broken() == {}
    assert {"calculator", "units"} <= set(TOOLS)


def test_the_card_is_whole(tool: Tool) -> None:
    card = tool.card
    assert NAME.match(card.name)
    assert (card.kind, card.ready, card.is_mixable) == ("tool", True, False)
    # the rules of a card.json hold for a tool's card too
    Card.model_validate({name: value for name, value in vars(card).items() if name in Card.model_fields})
    assert card.licence
    assert card.examples


def test_it_is_in_the_catalogue_with_a_name_and_a_mark_of_its_own(tool: Tool) -> None:
    pool = load_catalogue(ROOT / "data" / "experts")
    assert pool.experts[pool.index(tool.card.name)] == tool.card
    others = [expert for expert in pool.experts if expert.name != tool.card.name]
    assert tool.card.mark.lower() not in {expert.mark.lower() for expert in others}


def test_no_adapter_can_take_its_name(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / tool.card.name).mkdir()
    pool = load_catalogue(tmp_path)
    assert pool.experts[pool.index(tool.card.name)] == tool.card
    assert [expert.name for expert in pool.experts if expert.kind == "lora"] == [f"{tool.card.name}_2"]


def test_it_answers_the_examples_of_its_card_in_time(tool: Tool) -> None:
    tool.compute(tool.card.examples[0])  # what it needs is started
    for example in tool.card.examples:
        started = time.perf_counter()
        found = tool.compute(example)
        assert time.perf_counter() - started < LIMIT_S
        assert found.ok, f"{example}: {found.sentence}"
        assert found.query
        assert found.result
        assert 0 <= found.seconds < LIMIT_S
        again = tool.compute(example)
        assert (again.query, again.result, again.sentence) == (found.query, found.result, found.sentence)


def test_an_answer_is_a_call_and_then_its_sentence(tool: Tool) -> None:
    for example in tool.card.examples:
        found = tool.compute(example)
        called, said = tool.answer(AnswerRequest(example))
        assert isinstance(called, ToolCalled)
        assert (called.expert, called.ok) == (tool.card.name, True)
        assert (called.query, called.result) == (found.query, found.result)
        assert isinstance(said, TokenGenerated)
        assert (said.index, said.text, said.token_id, len(said.weights)) == (0, found.sentence, OUTSIDE, 0)
    assert tool.is_written


@pytest.mark.parametrize("prompt", NOT_ITS_BUSINESS.values(), ids=list(NOT_ITS_BUSINESS))
def test_it_refuses_what_is_not_its_business(tool: Tool, prompt: str) -> None:
    found = tool.compute(prompt)
    assert not found.ok
    assert found.result == ""
    assert found.sentence
    [called] = tool.answer(AnswerRequest(prompt))
    assert isinstance(called, ToolCalled)
    assert (called.ok, called.result) == (False, found.sentence)


@pytest.mark.parametrize("prompt", HOSTILE.values(), ids=list(HOSTILE))
def test_no_prompt_breaks_it_or_keeps_it_busy(tool: Tool, prompt: str) -> None:
    tool.compute(tool.card.examples[0])
    started = time.perf_counter()
    found = tool.compute(prompt)
    assert time.perf_counter() - started < LIMIT_S + 1
    assert bool(found.result) == found.ok
    assert found.sentence
    assert len(found.query) + len(found.result) + len(found.sentence) < 20_000


def test_it_can_be_closed_twice_and_used_again(tool: Tool) -> None:
    tool.close()
    tool.close()
    assert tool.compute(tool.card.examples[0]).ok
    never_used = type(tool)()
    never_used.close()


def test_the_card_is_the_classes_own(tool: Tool) -> None:
    assert isinstance(type(tool).card, Expert)
    assert TOOLS.get(tool.card.name) is type(tool)
