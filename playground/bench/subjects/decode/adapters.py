"""Write and read random LoRA experts as PEFT folders. Their values do not change how long decoding takes."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from playground.model.adapters import Adapter, read_adapter

RANK = 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
SIZE = 0.01  # standard deviation of A and B: too small to turn the text into noise


def write_random_adapters(folder: Path, model: nn.Module, count: int) -> list[Path]:
    """Write `count` seeded rank-8 adapters of the attention projections of `model`. Return their folders."""
    linears = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.rpartition(".")[2] in TARGETS
    }
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK, "target_modules": TARGETS}
    made = []
    for index in range(count):
        random = torch.Generator().manual_seed(index)
        tensors = {}
        for path, linear in linears.items():
            at = f"base_model.model.{path}"
            tensors[f"{at}.lora_A.weight"] = SIZE * torch.randn(RANK, linear.in_features, generator=random)
            tensors[f"{at}.lora_B.weight"] = SIZE * torch.randn(linear.out_features, RANK, generator=random)
        made.append(folder / f"random{index}")
        made[-1].mkdir(parents=True)
        save_file(tensors, made[-1] / "adapter_model.safetensors")
        (made[-1] / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return made


def read_adapters(folders: list[Path], model: nn.Module) -> list[Adapter]:
    """Return the adapters in `folders`, with the names of the folders."""
    return [read_adapter(folder, folder.name, model) for folder in folders]
