"""Every registered kind of expert keeps the contract: a new folder in experts/ gets these tests by itself."""

from pathlib import Path
from typing import get_args

import pytest

from playground.core.values import ExpertKind
from playground.experts.base import EXPERT_KINDS, Answerer, kept_names
from playground.experts.catalogue import load_answerers, load_catalogue
from playground.settings import ROOT

SHIPPED = ROOT / "data" / "experts"


@pytest.fixture(params=list(EXPERT_KINDS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_no_kind_is_broken() -> None:
    assert EXPERT_KINDS.broken() == {}
    assert {"base", "lora", "tool"} <= set(EXPERT_KINDS) <= set(get_args(ExpertKind))


@pytest.mark.parametrize("places", [(), (Path("/nothing/here"),), (SHIPPED,), (SHIPPED, Path("/nothing/here"))])
def test_its_experts_are_of_this_kind_and_have_names_of_their_own(name: str, places: tuple[Path, ...]) -> None:
    experts = EXPERT_KINDS.get(name).experts(places)
    assert {expert.kind for expert in experts} <= {name}
    assert len({expert.name for expert in experts}) == len(experts)
    assert [expert.reason for expert in experts if not expert.ready] == []


def test_somebody_answers_for_every_expert_outside_the_model(name: str) -> None:
    kind = EXPERT_KINDS.get(name)
    outside = {expert.name for expert in kind.experts((SHIPPED,)) if not expert.is_mixable}
    answerers = kind.answerers()
    assert set(answerers) == outside
    assert all(isinstance(answerer, Answerer) for answerer in answerers.values())


def test_the_catalogue_has_the_experts_of_all_kinds_in_the_order_of_kinds() -> None:
    pool = load_catalogue(SHIPPED)
    order = [get_args(ExpertKind).index(expert.kind) for expert in pool.experts]
    assert order == sorted(order)
    assert set(load_answerers()) == {expert.name for expert in pool.experts if not expert.is_mixable}
    assert kept_names() <= set(pool.names)
