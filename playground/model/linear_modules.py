"""Say which linear modules of a model experts can change, and which there are."""

import re
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")  # the layer of a module; others cannot be mixed


def adaptable(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (d_out, d_in) of every module that experts can change in `model`, by path. Routed modules are included."""
    modules = dict(model.named_modules())
    return {
        path: shape
        for path, shape in linear_modules(model).items()
        if hasattr(modules[path], "routed_shape") or is_routable(model, path, modules[path])
    }


def linear_modules(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (d_out, d_in) of every linear module of `model`, by path."""
    found = {}
    for path, module in model.named_modules():
        shape = getattr(module, "routed_shape", None)
        if shape is None and isinstance(module, nn.Linear):
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
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):  # it wants something else than x
        return False


def decoder_path(model: Any) -> str:
    """Return the path of the text decoder in `model`, with a dot at its end. Return "" when it is the model itself."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return next((f"{path}." for path, module in model.named_modules() if path and module is decoder), "")


def all_linear(model: nn.Module) -> set[str]:
    """Return the modules that PEFT's "all-linear" means: every linear one but the output embedding."""
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    return {path for path in linear_modules(model) if model.get_submodule(path) is not head}
