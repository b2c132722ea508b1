import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from playground.experts.adapters.facts import facts_of
from playground.experts.base import EXPERT_KINDS, TOOLS, Answerer, kept_names
from playground.experts.catalogue import load_answerers, load_catalogue
from playground.settings import ROOT

CARD = {"name": "emotion", "title": "Emotion", "description": "Names the emotion.", "mark": "Em", "slot": 1}


def adapter(folder: Path, card: dict | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    save_file({"a": np.zeros((8, 4), np.float32)}, folder / "adapter_model.safetensors")
    if card is not None:
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_the_base_and_the_tools_are_always_there(tmp_path):
    assert load_catalogue(tmp_path / "missing").names == ("base", *TOOLS)
    assert {"calculator", "units"} <= set(TOOLS)
    assert kept_names() == {"base", *TOOLS}
    answerers = load_answerers()
    assert set(answerers) == set(TOOLS)
    assert all(isinstance(answerer, Answerer) for answerer in answerers.values())


def test_no_file_of_a_kind_is_broken():
    assert EXPERT_KINDS.broken() == {}
    assert {"base", "lora", "tool"} <= set(EXPERT_KINDS)


def test_adapters_come_between_in_order_of_their_slots(tmp_path):
    adapter(tmp_path / "zeta", {**CARD, "name": "zeta", "slot": 0})
    adapter(tmp_path / "emotion", {**CARD, "examples": ["How does the writer feel?"]})
    pool = load_catalogue(tmp_path)
    assert pool.names == ("base", "zeta", "emotion", *TOOLS)
    assert all(expert.ready for expert in pool.experts)
    assert pool.experts[2].examples == ("How does the writer feel?",)


def test_an_adapter_without_a_card_is_usable_under_its_folder_name(tmp_path):
    adapter(tmp_path / "My-Adapter v2")
    expert = load_catalogue(tmp_path).experts[1]
    assert (expert.name, expert.ready) == ("my_adapter_v2", True)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "card.json").write_text("{"), "card.json"),
        (lambda f: (f / "card.json").write_text(json.dumps({**CARD, "slot": 99})), "slot"),
        (lambda f: (f / "card.json").write_text(json.dumps({**CARD, "name": "Bad Name"})), "name"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe\x00"), "card.json"),
        (lambda f: (f / "adapter_config.json").unlink(), "missing"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "LoRA"),
        (lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA"}'), "rank"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "missing"),
        (
            lambda f: (f / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "pointer",
        ),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "damaged"),
        (
            lambda f: (f / "adapter_model.safetensors").write_bytes(
                (f / "adapter_model.safetensors").read_bytes()[:-4]
            ),
            "cut short",
        ),
    ],
)
def test_a_broken_folder_is_an_expert_with_a_reason(tmp_path, damage, says):
    damage(adapter(tmp_path / "emotion", CARD))
    pool = load_catalogue(tmp_path)
    assert pool.names == ("base", "emotion", *TOOLS)
    assert not pool.experts[1].ready
    assert says in pool.experts[1].reason


@pytest.mark.parametrize(
    ("config", "encoding"),
    [
        ({"r": 8}, "utf-8-sig"),
        ({"r": 8}, "utf-16"),
        ({"target_modules": ["q_proj"]}, "utf-8"),  # the rank is PEFT's default
    ],
)
def test_a_configuration_that_peft_can_read_is_ready(tmp_path, config, encoding):
    folder = adapter(tmp_path / "emotion", CARD)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}), encoding=encoding)
    expert = load_catalogue(tmp_path).experts[1]
    assert (expert.ready, expert.reason) == (True, "")
    told = facts_of(expert)
    assert told is not None
    assert (told.rank, told.alpha) == (8, 8.0)


@pytest.mark.parametrize("taken", ["base", *TOOLS])
def test_a_name_that_is_taken_does_not_hide_the_other_expert(tmp_path, taken):
    adapter(tmp_path / "one", {**CARD, "name": taken})
    adapter(tmp_path / "two", CARD)
    adapter(tmp_path / "zwei", CARD)
    pool = load_catalogue(tmp_path)
    assert len(set(pool.names)) == len(pool) == 4 + len(TOOLS)
    assert sum(not expert.ready for expert in pool.experts) == 2


def test_loading_the_catalogue_imports_no_heavy_library():
    code = (
        "import pathlib, sys; from playground.experts.catalogue import load_answerers, load_catalogue;"
        "load_answerers(); load_catalogue(pathlib.Path('data/experts'));"
        "print([m for m in ('torch', 'sympy', 'pint', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BROKEN = """
from playground.experts.base import tool

raise ImportError("no module named moon")
"""
ENDPOINT = '''
"""Answers from a server."""

from playground.core.values import Expert
from playground.experts.base import Answerer, Kind, expert_kind, piece


class Echo(Answerer):
    """Says the prompt again."""

    def answer(self, request):
        """Yield the prompt."""
        yield piece(request.prompt)


@expert_kind("endpoint")
class Endpoints(Kind):
    """One server."""

    def experts(self, places):
        """Return it."""
        return [Expert("echo", "endpoint", "Echo", "Says it again.", "Ec", 3)]

    def answerers(self):
        """Return it."""
        return {"echo": Echo()}
'''
SHOW = """
import json, pathlib
from playground.experts.base import AnswerRequest
from playground.experts.adapters.facts import facts_of
from playground.experts.catalogue import load_answerers, load_catalogue
pool = load_catalogue(pathlib.Path("nothing"))
answers = {n: [e.text for e in a.answer(AnswerRequest("hello"))] for n, a in load_answerers().items() if n == "echo"}
print(json.dumps([[(e.name, e.kind, e.ready, e.reason, e.is_mixable) for e in pool.experts], answers]))
"""


@pytest.fixture
def house(tmp_path):
    """Return a copy of the package, to which a test may add files."""
    shutil.copytree(ROOT / "playground", tmp_path / "playground", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def shown(house: Path) -> list:
    done = subprocess.run([sys.executable, "-c", SHOW], cwd=house, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_broken_tool_file_is_an_expert_that_is_not_ready(house):
    (house / "playground" / "experts" / "tools" / "moon.py").write_text(BROKEN)
    experts, _ = shown(house)
    [moon] = [expert for expert in experts if expert[0] == "moon"]
    assert moon[1:3] == ["tool", False]
    assert "no module named moon" in moon[3]
    assert [name for name, _, ready, *_ in experts if ready] == ["base", *TOOLS]


def test_a_new_kind_of_expert_is_one_folder(house):
    folder = house / "playground" / "experts" / "endpoint"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "endpoint.py").write_text(ENDPOINT)
    experts, answers = shown(house)
    assert experts[-1] == ["echo", "endpoint", True, "", False]
    assert answers == {"echo": ["hello"]}


def test_the_shipped_folders_are_whole():
    assert [expert.reason for expert in load_catalogue(ROOT / "data" / "experts").experts if not expert.ready] == []
