"""Every gate can be fitted in one way: trained where it has parameters, else written; all else stays untouched."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from playground.core.values import Expert, Pool
from playground.learn.gates.fitting import GateFitting
from playground.learn.gates.recipe import GATE_RECIPES, recipe_for
from playground.learn.gates.trainer import GateProgress
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import load_base
from playground.routers.base import ROUTERS, GateRouter
from playground.settings import SMALL_DATA
from tests.tiny import write_tiny_expert

EXPERTS = ("sentiment", "math", "safe", "emotion")
WIDTH = 384
GATES = [name for name in ROUTERS if issubclass(ROUTERS.get(name), GateRouter)]


class Hashed:
    """An encoder as wide as the default one: a fixed random vector per word, summed."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [self._one(text) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, WIDTH), np.float32)

    def _one(self, text: str) -> np.ndarray:
        total = np.full(WIDTH, 1e-3)
        for word in text.lower().split()[:50]:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
            total += np.random.default_rng(seed).standard_normal(WIDTH)
        return (total / np.linalg.norm(total)).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny experts, and of what fits share: the base's replies, and a gate that one needs."""
    folder = tmp_path_factory.mktemp("gates")
    for slot, name in enumerate(EXPERTS):
        write_tiny_expert(folder / "experts", name, slot, seed=slot)
    return folder


@pytest.fixture
def fitting(place: Path, tiny_model_folder: Path) -> GateFitting:
    base = load_base(str(tiny_model_folder), torch.float32)
    bank = Bank(base.model)
    bank.stack([read_adapter(place / "experts" / name, name, base.model) for name in EXPERTS])
    pool = Pool(tuple(Expert(name, "lora", name.title(), f"About {name}.", name[:2], 0) for name in bank.names))
    return GateFitting(base, bank, pool, Hashed(), SMALL_DATA, place / "kept", routers=place / "routers")


def short(name: str) -> object:
    """Return the gate's own plan, with hardly any steps and rows."""
    plan = recipe_for(ROUTERS.get(name)).plan
    steps, hard = min(plan.steps, 1), min(plan.hard_steps, 2)
    return replace(plan, steps=steps, hard_steps=hard, rows=10, max_tokens=640)


def test_no_recipe_file_is_broken_and_each_trains_a_gate_there_is() -> None:
    assert GATE_RECIPES.broken() == {}
    assert set(GATE_RECIPES) <= set(GATES)


@pytest.mark.parametrize("name", GATES)
def test_a_fit_makes_a_gate_and_touches_nothing_else(name: str, fitting: GateFitting, place: Path) -> None:
    if not (fitting.routers / "lora_mixer").is_dir():  # GLIDER takes its vectors from this one
        fitting.fit("lora_mixer", fitting.routers / "lora_mixer", plan=short("lora_mixer"))
    before = [site.weight.clone() for site in fitting.bank.sites]
    seen: list[GateProgress] = []
    plan = short(name)
    out = place / "made" / name
    made = replace(fitting, progress=seen.append).fit(name, out, plan=plan)
    assert all(torch.equal(old, site.weight) for old, site in zip(before, fitting.bank.sites, strict=True))
    assert set(made["measured"]) == {"base", "uniform", "gate", "oracle"}
    assert "answer loss" in made["figure"]
    loaded = ROUTERS.get(name).load(out)
    assert isinstance(loaded, GateRouter)
    assert set(loaded.experts) <= set(fitting.bank.names)
    assert all(bool(torch.isfinite(value).all()) for value in load_file(out / "params.safetensors").values())
    learns = recipe_for(type(loaded)).plan.has_steps
    assert len(seen) == (plan.steps + plan.hard_steps if learns else 0)
    if learns:
        fresh = type(loaded)(loaded.experts, loaded.options, layers=loaded.layers, width=loaded.width)
        pairs = zip(loaded.gate.state_dict().values(), fresh.gate.state_dict().values(), strict=True)
        assert any(not torch.equal(one, two) for one, two in pairs), "it learned something"
    for step in seen:
        assert np.isfinite(step.loss)
        assert sum(step.use.values()) == pytest.approx(1, abs=1e-2)
