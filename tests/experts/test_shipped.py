"""The experts in the repository: all there, readable, small, and each named by a recipe."""

import json
from pathlib import Path

import pytest

from playground.experts.adapters.cards import Card
from playground.experts.catalogue import load_catalogue
from playground.learn.experts.recipes import RECIPES
from playground.settings import ROOT

EXPERTS = ROOT / "data" / "experts"
FOLDERS = sorted(path for path in EXPERTS.iterdir() if path.is_dir())


def test_every_recipe_has_its_expert_and_all_are_ready() -> None:
    pool = load_catalogue(EXPERTS)
    assert {expert.name for expert in pool.experts if expert.kind == "lora"} == set(RECIPES)
    assert [(expert.name, expert.reason) for expert in pool.experts if not expert.ready] == []


@pytest.mark.parametrize("name", list(RECIPES))
def test_what_a_recipe_says_fits_a_card(name: str) -> None:
    Card.model_validate({**vars(RECIPES.get(name)), "figure": ""})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_expert_is_small_and_says_where_it_comes_from(folder: Path) -> None:
    assert (folder / "adapter_model.safetensors").stat().st_size < 4 * 2**20
    card = json.loads((folder / "card.json").read_text())
    assert card["licence"]
    assert card["trained_on"]
    assert card["figure"]
    assert RECIPES.get(card["name"]).spdx in (folder / "README.md").read_text()
