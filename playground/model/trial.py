"""Try an adapter on the base before it joins the bank: a short text must give finite numbers.

Run it where nothing else uses the model: while it loads, or in the model's thread through `Decoder.call`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from playground.core.checklist import Line
from playground.model.adapters import TRAIN_AGAIN, Adapter
from playground.model.base import LanguageModel

TITLE = "Trial"
TEXT = "Hello! What is 17 + 25? The sum of 17 and 25 is 42, and the city of Paris lies in France."
MAX_TOKENS = 24


LARGEST = 1e15  # far above what a model computes, and its square is still finite: norms square their inputs


def try_adapter(base: LanguageModel, adapter: Adapter) -> Line:
    """Return whether `base` computes finite numbers with `adapter` alone, as a line of a checklist.

    The bank is not touched. The adapter's numbers have the format that they will have in the bank.
    """
    ids = _text(base)
    logits, broken = read_with(base, [adapter], ids)
    if broken:
        return Line(TITLE, "fail", f"with it, {broken} gives values far too large.", TRAIN_AGAIN)
    if not bool(torch.isfinite(logits).all()):
        return Line(TITLE, "fail", "with it, the model's outputs are not finite.", TRAIN_AGAIN)
    return Line(TITLE, "pass", f"{len(ids)} tokens were read with it, and all outputs are finite.")


def failing(base: LanguageModel, adapters: Sequence[Adapter]) -> dict[str, Line]:
    """Return the failed line of each adapter that fails its trial, by name.

    All are added up for one pass first, so that a start takes no pass for each. Only when that fails is each tried.
    """
    if not adapters:
        return {}
    logits, broken = read_with(base, adapters, _text(base))
    if not broken and bool(torch.isfinite(logits).all()):
        return {}
    lines = {adapter.name: try_adapter(base, adapter) for adapter in adapters}
    return {name: line for name, line in lines.items() if line.state == "fail"}


def _text(base: LanguageModel) -> list[int]:
    return base.answer_ids(TEXT)[:MAX_TOKENS] or [0, 0]


@torch.inference_mode()
def read_with(base: LanguageModel, adapters: Sequence[Adapter], ids: Sequence[int]) -> tuple[Tensor, str]:
    """Return the logits (1, 1, V) after `ids` with the sum of `adapters`, and the first module that fails, else ""."""
    device = base.model.device
    broken: list[str] = []
    with ExitStack() as hooks:
        for path, (down, up) in ((path, halves) for adapter in adapters for path, halves in adapter.matrices.items()):
            hook = _adding(path, down.to(device, base.dtype), up.to(device, base.dtype), broken)
            hooks.callback(base.model.get_submodule(path).register_forward_hook(hook).remove)
        told = torch.tensor([list(ids)], device=device)
        logits = base.model(input_ids=told, use_cache=False, **base.taken(logits_to_keep=1)).logits
    return logits, broken[0] if broken else ""


def _adding(path: str, down: Tensor, up: Tensor, broken: list[str]) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Return a hook that adds B A x to what the module at `path` gives, and notes in `broken` where that fails."""

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        low = inputs[0] @ down.T
        added = output + low @ up.T
        if not broken and not all(float(values.abs().amax()) < LARGEST for values in (low, added)):
            broken.append(path)
        return added

    return add
