"""Reads a PEFT LoRA folder and checks it against the base, so that a bad one is refused with a reason before use."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from playground.errors import InvalidRequest

MAX_ADAPTER_BYTES = 256 * 2**20
KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight$")


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA expert: per module path, A (r, d_in) and B (d_out, r) in float32, with alpha / r already in B."""

    name: str
    matrices: dict[str, tuple[Tensor, Tensor]]


def read_adapter(folder: Path, name: str, model: nn.Module) -> Adapter:
    """The adapter in `folder`, checked against the linear modules of `model`.

    Raises InvalidRequest that names what does not fit: a missing or foreign file, an unsupported LoRA variant, a module
    the base does not have, a shape that differs.
    """
    config = _read_config(folder)
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise InvalidRequest(
            f"{name}: there is no adapter_model.safetensors.", "Save the adapter with safe_serialization=True."
        )
    if path.stat().st_size > MAX_ADAPTER_BYTES:
        raise InvalidRequest(f"{name}: the adapter is larger than 256 MB.", "Use a smaller rank or fewer targets.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidRequest(f"{name}: adapter_model.safetensors is damaged ({error}).", "Save it again.") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = KEY.match(key)
        if not match:
            raise InvalidRequest(
                f"{name}: the tensor {key} is not part of a plain LoRA.", "Use lora_A and lora_B only."
            )
        halves.setdefault(match["module"], {})[match["side"]] = tensor.to(torch.float32)
    linears = {path: module for path, module in model.named_modules() if _is_linear(module)}
    matrices = {}
    for module, sides in halves.items():
        matrices[module] = _checked(name, module, sides, linears, config)
    if not matrices:
        raise InvalidRequest(f"{name}: the adapter is empty.", "Train it, or save it again.")
    return Adapter(name, matrices)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or hasattr(module, "routed_shape")


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidRequest(
            f"{folder.name}: adapter_config.json cannot be read ({error}).", "Add the file."
        ) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise InvalidRequest(f"{folder.name}: this is not a LoRA adapter.", "Only PEFT's LORA type can be mixed.")
    for field in ("use_dora", "fan_in_fan_out", "lora_bias"):
        if config.get(field):
            raise InvalidRequest(f"{folder.name}: {field} is not supported.", "Train a plain LoRA.")
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise InvalidRequest(
            f"{folder.name}: it changes more than LoRA matrices.", "Use bias=none, no modules_to_save."
        )
    return config


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    """alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (arXiv:2312.03732), with per-module patterns."""
    alpha = float(config.get("lora_alpha", rank))
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.search(rf"(^|\.){pattern}$", module):
            alpha = float(value)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _checked(
    name: str, module: str, sides: dict[str, Tensor], linears: dict[str, nn.Module], config: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    if set(sides) != {"A", "B"}:
        raise InvalidRequest(f"{name}: {module} has only one of lora_A and lora_B.", "Save the adapter again.")
    down, up = sides["A"], sides["B"]
    if module not in linears:
        raise InvalidRequest(f"{name}: the base has no linear module {module}.", "Use an adapter made for this base.")
    linear = linears[module]
    d_out, d_in = getattr(linear, "routed_shape", None) or (linear.out_features, linear.in_features)
    if down.ndim != 2 or up.ndim != 2 or down.shape[1] != d_in or up.shape[0] != d_out or down.shape[0] != up.shape[1]:
        raise InvalidRequest(
            f"{name}: {module} was trained for {down.shape[-1]} → {up.shape[0]}; this base has {d_in} → {d_out}.",
            "Use an adapter made for this base.",
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise InvalidRequest(f"{name}: {module} holds values that are not finite.", "Train the adapter again.")
    return down, up * _scale(config, module, down.shape[0])
