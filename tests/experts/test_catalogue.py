import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from playground.experts.catalogue import load_catalogue, load_tools
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
    assert load_catalogue(tmp_path / "missing").names == ("base", "calculator", "units")
    assert set(load_tools()) == {"calculator", "units"}


def test_adapters_come_between_in_order_of_their_slots(tmp_path):
    adapter(tmp_path / "zeta", {**CARD, "name": "zeta", "slot": 0})
    adapter(tmp_path / "emotion", {**CARD, "examples": ["How does the writer feel?"]})
    pool = load_catalogue(tmp_path)
    assert pool.names == ("base", "zeta", "emotion", "calculator", "units")
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
    assert pool.names == ("base", "emotion", "calculator", "units")
    assert not pool.experts[1].ready
    assert says in pool.experts[1].reason


def test_a_name_that_is_taken_does_not_hide_the_other_expert(tmp_path):
    adapter(tmp_path / "one", {**CARD, "name": "calculator"})
    adapter(tmp_path / "two", CARD)
    adapter(tmp_path / "zwei", CARD)
    pool = load_catalogue(tmp_path)
    assert len(set(pool.names)) == len(pool) == 6
    assert sum(not expert.ready for expert in pool.experts) == 2


def test_loading_the_catalogue_imports_no_heavy_library():
    code = (
        "import sys; from playground.experts.catalogue import load_catalogue, load_tools; load_tools();"
        "print([m for m in ('torch', 'sympy', 'pint', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_folders_are_whole():
    assert [expert.reason for expert in load_catalogue(ROOT / "data" / "experts").experts if not expert.ready] == []
