"""Read a PEFT LoRA folder by a checklist. An adapter that does not fit the base is refused with a reason.

Only JSON and safetensors are ever read, so nothing in a folder can run.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from playground.core.checklist import Checklist, Line

MAX_ADAPTER_BYTES = 256 * 2**20
MAX_CONFIG_BYTES = 2**20
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")  # the layer of a module; others cannot be mixed
KEY = re.compile(r"^base_model\.model\.(?P<module>.{1,300})\.lora_(?P<side>[AB])(?:\.[^.]{1,100})?\.weight$")
# A pattern comes from the folder. It may hold names, dots and alternatives only, so that matching it always ends.
PLAIN_PATTERN = re.compile(r"^[\w.\-^$|\\]{1,300}$")
# These fields add more to a layer than B A x, which mixing by weights cannot reproduce.
FOREIGN = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "fan_in_fan_out",
    "lora_bias",
    "modules_to_save",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
)
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
Halves = dict[str, dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Adapter:
    """Hold a LoRA expert: for each module path, A (r, d_in) and B (d_out, r) in float32. B already holds alpha / r."""

    name: str
    matrices: dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Examined:
    """Hold what was seen in a folder. `adapter` is None when a check failed."""

    checklist: Checklist
    adapter: Adapter | None


class _Stop(Exception):
    """End an examination with the line that failed."""

    def __init__(self, title: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.line = Line(title, "fail", detail, remedy)


def adaptable(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (d_out, d_in) of every linear module in a layer of `model`, by path. Routed modules are included."""
    found = {}
    for path, module in model.named_modules():
        shape = getattr(module, "routed_shape", None)
        if shape is None and is_routable(model, path, module):
            shape = (module.out_features, module.in_features)
        if shape is not None:
            found[path] = shape
    return found


def is_routable(model: nn.Module, path: str, module: nn.Module) -> bool:
    """Return whether `module` at `path` is a plain linear module in a layer of the text decoder that reads every token.

    The modules of a mixture of experts read some tokens only. Some subclasses compute more than a product.
    """
    if not isinstance(module, nn.Linear) or not LAYER.search(path) or "experts" in path.split("."):
        return False
    return path.startswith(decoder_path(model)) and (type(module) is nn.Linear or _is_product(module))


@torch.no_grad()
def _is_product(module: nn.Linear) -> bool:
    """Return whether `module` computes x Wᵀ + b. It is tried with one x."""
    tried = torch.linspace(-1, 1, module.in_features).to(module.weight)[None]
    try:
        made: Tensor = module(tried)
        return torch.equal(made, nn.functional.linear(tried, module.weight, module.bias))
    except Exception:  # noqa: BLE001  it wants something else than x, so it is not a product
        return False


def decoder_path(model: Any) -> str:
    """Return the path of the text decoder in `model`, with a dot at its end. Return "" when it is the model itself."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return next((f"{path}." for path, module in model.named_modules() if path and module is decoder), "")


def read_adapter(folder: Path, name: str, model: nn.Module) -> Adapter:
    """Return the adapter in `folder`, checked against the linear modules of `model`.

    Raise InvalidRequest with the first line of the checklist that failed.
    """
    examined = examine(folder, name, model)
    examined.checklist.require(name)
    if examined.adapter is None:
        raise RuntimeError("an examination without a failure gives an adapter")
    return examined.adapter


def examine(
    folder: Path, name: str, model: nn.Module, *, base_name: str = "", limit_bytes: int = MAX_ADAPTER_BYTES
) -> Examined:
    """Return the checklist of the adapter in `folder`, and the adapter itself. The first failure ends the list.

    `base_name`, when given, is compared with the name of the base that the adapter was trained for.
    """
    lines: list[Line] = []
    try:
        config = _read_config(folder)
        lines.append(Line("Configuration", "pass", f"{CONFIG} is readable."))
        lines.append(_kind(config))
        if base_name:
            lines.append(_base(config, base_name))
        lines.append(_size(folder / WEIGHTS, limit_bytes))
        halves = _read_halves(folder / WEIGHTS)
        count = sum(map(len, halves.values()))
        lines.append(Line("Tensors", "pass", f"{count} in safetensors format, all finite."))
        matrices = {}
        shapes = adaptable(model)
        lines.append(_targets(halves, shapes))
        for module, sides in halves.items():
            matrices[module] = _fitting(module, sides, shapes[module])
        lines.append(Line("Shapes", "pass", "They fit the base."))
        scales = {module: _scale(config, module, down.shape[0]) for module, (down, _) in matrices.items()}
        lines.append(_ranks(config, {module: down.shape[0] for module, (down, _) in matrices.items()}))
    except _Stop as stop:
        return Examined(Checklist((*lines, stop.line)), None)
    made = {module: (down, up * scales[module]) for module, (down, up) in matrices.items()}
    return Examined(Checklist.of(lines), Adapter(name, made))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise _Stop("Configuration", f"{CONFIG} is larger than 1 MB.", "Save the adapter again.")
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _Stop("Configuration", f"{CONFIG} cannot be read ({reason}).", "Add the file.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        told = f" but {str(kind)[:40]}" if kind else ""
        raise _Stop("Kind", f"this is not a LoRA adapter{told}.", "Only PEFT's LORA type can be mixed.")
    return config


def _kind(config: Mapping[str, Any]) -> Line:
    for field in FOREIGN:
        if config.get(field):
            raise _Stop("Kind", f"{field} is not supported.", "Train a plain LoRA.")
    if config.get("bias", "none") != "none":
        raise _Stop("Kind", "the adapter changes more than LoRA matrices.", "Train it with bias=none.")
    start = str(config.get("init_lora_weights"))
    if start.startswith(CHANGES_BASE):
        remedy = "Convert it on saving (path_initial_model_for_weight_conversion)."
        return Line("Kind", "warn", f"A LoRA that began from {start[:20]}, which changes the base's weights.", remedy)
    return Line("Kind", "pass", "A plain LoRA.")


def _base(config: Mapping[str, Any], base_name: str) -> Line:
    """Return the line that compares the names of the bases. Another name is only a warning: the shapes decide."""
    told = str(config.get("base_model_name_or_path") or "")[:200]
    if not told:
        return Line("Base model", "warn", "The adapter does not name its base model; the shapes decide.")
    if _leaf(told) == _leaf(base_name):
        return Line("Base model", "pass", f"Trained on {_leaf(told, lower=False)}, which is the base here.")
    detail = f"Trained on {_leaf(told, lower=False)}; the base here is {_leaf(base_name, lower=False)}."
    return Line("Base model", "warn", detail, "The shapes decide; try it and compare with the base.")


def _leaf(name: str, *, lower: bool = True) -> str:
    leaf = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return leaf.lower() if lower else leaf


def _size(path: Path, limit_bytes: int) -> Line:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _Stop(
            "Size",
            f"there is no {path.name}.",
            "Save the adapter as safetensors; pickles are never read.",
        ) from error
    if size > limit_bytes:
        detail = f"the adapter is larger than {limit_bytes / 2**20:.0f} MB ({size / 2**20:.1f} MB)."
        raise _Stop("Size", detail, "Use a smaller rank, fewer targets or float16, or raise PLAYGROUND_MAX_ADAPTER_MB.")
    return Line("Size", "pass", f"{size / 2**20:.1f} MB of at most {limit_bytes / 2**20:.0f} MB.")


def _read_halves(path: Path) -> Halves:
    """Return A and B of each module, in float32. All values are finite."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        detail = f"{path.name} is damaged ({str(error)[:120]})."
        raise _Stop("Tensors", detail, "Save it again as safetensors.") from error
    halves: Halves = {}
    for key, tensor in tensors.items():
        match = KEY.match(key)
        if not match or not tensor.is_floating_point():
            raise _Stop(
                "Tensors", f"the tensor {key[:120]} is not part of a plain LoRA.", "Use lora_A and lora_B only."
            )
        value = tensor.to(torch.float32)
        if not bool(torch.isfinite(value).all()):
            detail = f"{match['module'][:120]} holds values that are not finite."
            raise _Stop("Tensors", detail, "Train the adapter again.")
        halves.setdefault(match["module"], {})[match["side"]] = value
    if not halves:
        raise _Stop("Tensors", "the adapter is empty.", "Train it, or save it again.")
    return halves


def _targets(halves: Halves, shapes: Mapping[str, tuple[int, int]]) -> Line:
    missing = [module for module in halves if module not in shapes]
    if missing:
        more = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        detail = f"the base has no linear module {missing[0][:120]} in a layer{more}."
        raise _Stop("Target modules", detail, "Use an adapter made for this base, on modules in its layers.")
    return Line("Target modules", "pass", f"{', '.join(_leaves(halves))} in {len(_layers(halves))} layers.")


def _leaves(modules: Mapping[str, Any]) -> list[str]:
    """Return the last names of module paths, each once, in order."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in modules))


def _layers(modules: Mapping[str, Any]) -> set[str]:
    return {match[1] for path in modules if (match := LAYER.search(path))}


def _fitting(module: str, sides: Mapping[str, Tensor], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return (A, B) of a module of (d_out, d_in) `shape`."""
    if set(sides) != {"A", "B"}:
        raise _Stop("Shapes", f"{module} has only one of lora_A and lora_B.", "Save the adapter again.")
    down, up = sides["A"], sides["B"]
    d_out, d_in = shape
    fits = down.ndim == 2 and up.ndim == 2 and down.shape[1] == d_in and up.shape[0] == d_out
    if not fits or down.shape[0] != up.shape[1] or not down.shape[0]:
        told = f"{down.shape[-1] if down.ndim else '?'} → {up.shape[0] if up.ndim else '?'}"
        detail = f"{module} was trained for {told}; this base has {d_in} → {d_out}."
        raise _Stop("Shapes", detail, "Use an adapter made for this base.")
    return down, up


def _patterned(config: Mapping[str, Any], field: str, module: str, default: float) -> float:
    """Return the value of `field` for `module`. Patterns are read as PEFT reads them."""
    patterns = config.get(field) or {}
    if not isinstance(patterns, dict):
        raise _Stop("Rank and scale", f"{field} is not a table.", "Save the adapter again.")
    for pattern, value in patterns.items():
        if not PLAIN_PATTERN.match(pattern):
            raise _Stop("Rank and scale", f"{field} holds a pattern, not a plain name.", "Name the modules in full.")
        try:
            if re.match(rf"(?:.*\.)?(?:{pattern})$", module):
                return _number(value, field)
        except re.error as error:
            raise _Stop("Rank and scale", f"{field} has a broken pattern.", "Name the modules in full.") from error
    return default


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise _Stop("Rank and scale", f"{field} is {str(value)[:40]}, not a usable number.", "Save the adapter again.")
    return float(value)


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (arXiv:2312.03732). Patterns per module count."""
    told = _patterned(config, "rank_pattern", module, _number(config.get("r", rank), "r"))
    if told != rank:
        detail = f"{module} has rank {rank}, its configuration says {told:g}."
        raise _Stop("Rank and scale", detail, "Save the adapter again, so that both agree.")
    alpha = _patterned(config, "alpha_pattern", module, _number(config.get("lora_alpha", rank), "lora_alpha"))
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _ranks(config: Mapping[str, Any], ranks: Mapping[str, int]) -> Line:
    low, high = min(ranks.values()), max(ranks.values())
    rank = f"rank {low}" if low == high else f"ranks {low} to {high}"
    kind = ", rank-stabilised" if config.get("use_rslora") else ""
    return Line("Rank and scale", "pass", f"{rank}, alpha {config.get('lora_alpha', low)}{kind}.")
