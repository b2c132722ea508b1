"""The tiny model loaded as the engine loads the real one, with three tiny experts of different make."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from tests.tiny import write_tiny_expert

MAKES = {
    "plain": {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    "stabilised": {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": ["q_proj", "v_proj"]},
    "wide": {"r": 3, "lora_alpha": 16, "target_modules": ["k_proj", "o_proj", "up_proj", "down_proj"]},
}


@pytest.fixture(scope="session")
def adapter_folders(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return adapters that PEFT wrote: different ranks, scales and targets, one of them rank-stabilised."""
    folders = {}
    for index, (name, make) in enumerate(MAKES.items()):
        torch.manual_seed(index + 1)
        base = load_base(str(tiny_model_folder), torch.float32)
        model = get_peft_model(base.model, LoraConfig(task_type="CAUSAL_LM", **make))
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        folders[name] = tmp_path_factory.mktemp("adapters") / name
        model.save_pretrained(folders[name])
    return folders


@pytest.fixture
def tiny_base(tiny_model_folder: Path) -> LanguageModel:
    """Return the tiny model in float32, before a bank changes it."""
    return load_base(str(tiny_model_folder), torch.float32)


@pytest.fixture
def bank(tiny_base: LanguageModel, adapter_folders: dict[str, Path]) -> Bank:
    """Return the bank of the tiny model with all three adapters. It changes `tiny_base`."""
    adapters = [read_adapter(folder, name, tiny_base.model) for name, folder in adapter_folders.items()]
    made = Bank(tiny_base.model)
    made.stack(adapters)
    return made


@pytest.fixture
def broken_adapter(tmp_path: Path) -> Path:
    """Return an adapter folder that a test may spoil."""
    folder = write_tiny_expert(tmp_path, "spoiled", 0, seed=3)
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"
    return folder
