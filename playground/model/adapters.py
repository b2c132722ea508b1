"""Read a PEFT LoRA folder by a checklist. An adapter that does not fit the base is refused with a reason.

Only JSON and safetensors are ever read, so nothing in a folder can run. An adapter is taken when it gives what PEFT
would compute on this base.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from playground.core.adapter_format import (
    CONFIG,
    LENGTH_BYTES,
    MAX_CONFIG_BYTES,
    WEIGHTS,
    Header,
    WrongFormat,
    base_leaf,
    header_length,
    parse_config,
    parse_header,
)
from playground.core.checklist import Checklist, Line
from playground.model.linear_modules import LAYER, adaptable, all_linear
from playground.model.lora_config import SAVE_AGAIN, LoraSettings, Plan, RefusedConfig, read_settings

__all__ = ["CONFIG", "WEIGHTS"]

MAX_ADAPTER_BYTES = 4096 * 2**20
PREFIX, COMPILED = "base_model.model.", "_orig_mod."
DEFAULT = "default"  # PEFT's name of an adapter that has no other
# How many times as large as the base's weights the change may be, and one half of it. Training stays below 1. Far
# above, answers are noise, and sums overflow on some prompts.
MAX_CHANGE, MAX_HALF = 1e3, 1e6
TRAIN_AGAIN = "Train the adapter again."
OTHER_BASE = "Use an adapter made for this base, on modules in its layers."
Halves = dict[str, dict[str, str]]  # module -> side -> name of its tensor
# What tensors of other kinds end with, and what the adapter does more than a plain LoRA.
OTHER_TENSORS = {
    "lora_magnitude_vector": "it is a DoRA adapter",
    "lora_embedding_A": "it changes the embeddings",
    "lora_embedding_B": "it changes the embeddings",
    ".bias": "it changes biases too",
}


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


@dataclass(frozen=True)
class Half:
    """Hold what the name of a tensor says: its module, its side, 'A' or 'B', and the adapter, empty if not named."""

    module: str
    side: str
    adapter: str


def half_of(key: str) -> Half | None:
    """Return what PEFT's name of one half of a LoRA says. None for a tensor of another kind."""
    module, _, end = key.removeprefix(PREFIX).rpartition(".lora_")
    side, _, last = end.partition(".")
    adapter, dot, weight = last.rpartition(".")
    if not key.startswith(PREFIX) or not module or side not in ("A", "B") or weight != "weight":
        return None
    return None if "." in adapter or bool(dot) != bool(adapter) else Half(module, side, adapter)


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

    The size is checked after everything that the header of the weights shows: a larger limit would not help with
    that. `base_name`, when given, is compared with the name of the base that the adapter was trained for.
    """
    lines: list[Line] = []
    try:
        config = _read_config(folder)
        lines.append(Line("Configuration", "pass", f"{CONFIG} is readable."))
        settings = read_settings(config)
        lines.append(_kind(settings))
        if base_name:
            lines.append(_base(config, base_name))
        header = _read_header(folder / WEIGHTS)
        halves = _halves(header)
        shapes = adaptable(model)
        plan = settings.plan([path for path, _ in model.named_modules()], all_linear(model))
        targets = _targets(halves, shapes, plan, settings, model)
        for module, sides in halves.items():
            _check_shapes(module, sides, header, shapes[module])
        ranks = {module: header.tensors[sides["A"]].shape[0] for module, sides in halves.items()}
        for module, rank in ranks.items():
            _check_rank(module, rank, plan, settings)
        lines.append(_size(header.size, limit_bytes))
        matrices = _matrices(folder / WEIGHTS, halves)
        lines.append(Line("Tensors", "pass", f"{2 * len(halves)} in safetensors format, all finite."))
        lines += [targets, Line("Shapes", "pass", "They fit the base.")]
        scales = {module: settings.scale(plan.alphas[module], rank) for module, rank in ranks.items()}
        made = {module: (down, up * scales[module]) for module, (down, up) in matrices.items()}
        _check_change(made, model)
        lines.append(_ranks(settings, plan, ranks))
    except _Stop as stop:
        return Examined(Checklist((*lines, stop.line)), None)
    except RefusedConfig as error:
        return Examined(Checklist((*lines, Line(error.title, "fail", error.detail, error.remedy))), None)
    return Examined(Checklist.of(lines), Adapter(name, made))


# --- the configuration ------------------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        with (folder / CONFIG).open("rb") as file:
            return parse_config(file.read(MAX_CONFIG_BYTES + 1))
    except OSError as error:
        raise _Stop("Configuration", f"{CONFIG} cannot be read ({error.strerror}).", "Add the file.") from error
    except WrongFormat as error:
        raise _Stop("Configuration", error.detail, error.remedy) from error


def _kind(settings: LoraSettings) -> Line:
    if settings.unknown:
        named = ", ".join(settings.unknown[:3])
        return Line("Kind", "warn", f"A LoRA with settings that are not known here, and that PEFT ignores: {named}.")
    return Line("Kind", "pass", "A plain LoRA.")


def _base(config: Mapping[str, Any], base_name: str) -> Line:
    """Return the line that compares the names of the bases. Another name is only a warning: the shapes decide."""
    told = base_leaf(str(config.get("base_model_name_or_path") or ""))
    here = base_leaf(base_name)
    if not told:
        return Line("Base model", "warn", "The adapter does not name its base model; the shapes decide.")
    if told.lower() == here.lower():
        return Line("Base model", "pass", f"Trained on {told}, which is the base here.")
    detail = f"Trained on {told}; the base here is {here}."
    return Line("Base model", "warn", detail, "The shapes decide; try it and compare with the base.")


# --- the weights ------------------------------------------------------------------------------------------------------


def _read_header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(64)
            file.seek(LENGTH_BYTES)
            return parse_header(file.read(header_length(start, size)))
    except FileNotFoundError as error:
        remedy = "Save the adapter as safetensors; pickles are never read."
        raise _Stop("Size", f"there is no {path.name}.", remedy) from error
    except OSError as error:
        raise _Stop("Tensors", f"{path.name} cannot be read ({error.strerror}).", "Make it readable.") from error
    except WrongFormat as error:
        raise _Stop("Tensors", error.detail, error.remedy) from error


def _size(size: int, limit_bytes: int) -> Line:
    told, limit = size / 2**20, limit_bytes / 2**20
    if size > limit_bytes:
        detail = f"the adapter is larger than {limit:.0f} MB ({told:.1f} MB)."
        raise _Stop("Size", detail, "Use a smaller rank, fewer targets or float16, or raise PLAYGROUND_MAX_ADAPTER_MB.")
    return Line("Size", "pass", f"{told:.1f} MB of at most {limit:.0f} MB.")


def _halves(header: Header) -> Halves:
    """Return the names of A and B of each module. Raise _Stop for a tensor of another kind, or of two adapters."""
    halves: Halves = {}
    names: dict[str, None] = {}
    for key, entry in header.tensors.items():
        half = half_of(key)
        if half is None or COMPILED in key:
            raise _Stop("Tensors", *_unknown_tensor(key))
        if not entry.is_float:
            raise _Stop("Tensors", f"the tensor {key[:120]} holds no floating-point numbers.", SAVE_AGAIN)
        names.setdefault(half.adapter, None)
        halves.setdefault(half.module, {})[half.side] = key
    if len(names) > 1:
        told = ", ".join(name[:40] or "one without a name" for name in list(names)[:4])
        raise _Stop("Tensors", f"the file holds {len(names)} adapters: {told}.", "Save each in a folder of its own.")
    if not halves:
        raise _Stop("Tensors", "the adapter is empty.", "Train it, or save it again.")
    [name] = names
    if name not in ("", DEFAULT):
        detail = f"the tensors carry the adapter's name {name[:40]!r}, so that PEFT would not load them."
        raise _Stop("Tensors", detail, SAVE_AGAIN)
    return halves


def _unknown_tensor(key: str) -> tuple[str, str]:
    """Return what is wrong with a tensor that is no half of a LoRA under PEFT's prefix, and the remedy."""
    shown = key[:120]
    if COMPILED in key:
        detail = f"the tensor {shown} carries _orig_mod, the prefix of a model compiled by torch.compile."
        return detail, "Save the model inside: model._orig_mod.save_pretrained(…)."
    if re.search(r"\.lora_[AB]\.", key) and not key.startswith(PREFIX):
        return f"the tensor {shown} lacks the prefix {PREFIX}", SAVE_AGAIN
    for end, told in OTHER_TENSORS.items():
        if key.endswith(end):
            return f"the tensor {shown} is not part of a plain LoRA: {told}.", "Train a plain LoRA."
    return f"the tensor {shown} is not part of a plain LoRA.", "Use lora_A and lora_B only."


def _targets(
    halves: Halves, shapes: Mapping[str, tuple[int, int]], plan: Plan, settings: LoraSettings, model: nn.Module
) -> Line:
    """Return which modules are adapted. Raise _Stop where the file, the configuration and the base disagree."""
    title = "Target modules"
    missing = [module for module in halves if module not in shapes]
    if missing:
        near = next((path for path in shapes if _is_end(path, missing[0]) or _is_end(missing[0], path)), "")
        told = f" It has {near}." if near else ""
        detail = f"the base has no linear module {missing[0][:120]} in a layer{_others(missing)}.{told}"
        raise _Stop(title, detail, OTHER_BASE)
    untold = [module for module in halves if module not in plan.targeted]
    if untold:
        detail = f"the configuration does not target {untold[0]}{_others(untold)}, so that PEFT would leave it out."
        raise _Stop(title, detail, "Save the adapter again, so that configuration and tensors agree.")
    for path in sorted(plan.targeted):
        if getattr(getattr(model.get_submodule(path), "weight", None), "ndim", 0) < 2:
            raise _Stop(title, f"the configuration targets {path}, which is no linear module.", OTHER_BASE)
    where = f"{', '.join(_leaves(halves))} in {len(_layers(halves))} layers"
    left = len(plan.targeted) - len(halves)
    if not left:
        return Line(title, "pass", f"{where}.")
    if not settings.begins_at_zero:
        detail = f"{left} targeted modules have no tensors; PEFT would draw them at random."
        raise _Stop(title, detail, SAVE_AGAIN)
    return Line(title, "warn", f"{where}; {left} targeted modules have no tensors and stay as the base's.")


def _is_end(path: str, end: str) -> bool:
    return path.endswith(f".{end}")


def _others(modules: list[str]) -> str:
    return f", nor {len(modules) - 1} others" if len(modules) > 1 else ""


def _leaves(modules: Mapping[str, Any]) -> list[str]:
    """Return the last names of module paths, each once, in order."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in modules))


def _layers(modules: Mapping[str, Any]) -> set[str]:
    return {match[1] for path in modules if (match := LAYER.search(path))}


def _check_shapes(module: str, sides: Mapping[str, str], header: Header, shape: tuple[int, int]) -> None:
    """Raise _Stop unless A and B of a module fit its (d_out, d_in) `shape`."""
    if set(sides) != {"A", "B"}:
        raise _Stop("Shapes", f"{module} has only one of lora_A and lora_B.", SAVE_AGAIN)
    down, up = (header.tensors[sides[side]].shape for side in "AB")
    d_out, d_in = shape
    fits = len(down) == len(up) == 2 and down[1] == d_in and up[0] == d_out
    if not fits or down[0] != up[1] or not down[0]:
        told = f"{down[-1] if down else '?'} → {up[0] if up else '?'}"
        detail = f"{module} was trained for {told}; this base has {d_in} → {d_out}."
        raise _Stop("Shapes", detail, "Use an adapter made for this base.")


def _check_rank(module: str, rank: int, plan: Plan, settings: LoraSettings) -> None:
    title = "Rank and scale"
    if plan.ranks[module] != rank:
        detail = f"{module} has rank {rank}, its configuration says {plan.ranks[module]}."
        raise _Stop(title, detail, "Save the adapter again, so that both agree.")
    if settings.needs_even_rank and rank % 2:
        raise _Stop(title, f"{module} has rank {rank}; an orthogonal start needs an even one.", SAVE_AGAIN)


def _ranks(settings: LoraSettings, plan: Plan, ranks: Mapping[str, int]) -> Line:
    alphas = [plan.alphas[module] for module in ranks]
    kind = ", rank-stabilised" if settings.is_stabilised else ""
    rank, alpha = _span("rank", ranks.values()), _span("alpha", alphas)
    return Line("Rank and scale", "pass", f"{rank}, {alpha}{kind}.")


def _span(name: str, values: Collection[float]) -> str:
    low, high = min(values), max(values)
    return f"{name} {low:g}" if low == high else f"{name}s {low:g} to {high:g}"


# --- the numbers ------------------------------------------------------------------------------------------------------


def _matrices(path: Path, halves: Halves) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A and B of each module, in float32. All values are finite."""
    try:
        tensors = load_file(path)
        read = {module: {side: tensors[key] for side, key in sides.items()} for module, sides in halves.items()}
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        detail = f"{path.name} is damaged ({str(error)[:120]})."
        raise _Stop("Tensors", detail, "Save it again as safetensors.") from error
    matrices = {module: (sides["A"].float(), sides["B"].float()) for module, sides in read.items()}
    for module, (down, up) in matrices.items():
        if not bool(torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise _Stop("Tensors", f"{module} holds values that are not finite.", TRAIN_AGAIN)
    return matrices


def _check_change(matrices: Mapping[str, tuple[Tensor, Tensor]], model: nn.Module) -> None:
    """Raise _Stop for an adapter that dwarfs the base it stands beside: its answers are no answers, or overflow."""
    for module, (down, up) in matrices.items():
        down, up = down.double(), up.double()
        norms = [float(half.norm()) for half in (down, up)]
        change = float(((up.T @ up) * (down @ down.T)).sum().clamp_min(0).sqrt())  # the Frobenius norm of B A
        if change <= MAX_CHANGE and max(norms) <= MAX_HALF:
            continue
        size = max(1.0, float(torch.linalg.vector_norm(model.get_submodule(module).weight, dtype=torch.float32)))
        if not change <= MAX_CHANGE * size:
            detail = f"what it adds to {module} is {change / size:.1g} times as large as the base's own weights."
            raise _Stop("Size of the change", detail, TRAIN_AGAIN)
        if not max(norms) <= MAX_HALF * size:
            raise _Stop("Size of the change", f"{module} holds values too large to compute with.", TRAIN_AGAIN)
