"""Observes attention for the chosen layers and heads only, beside the library's fused kernel.

The observed head's row costs one small product; the full weights of a layer are computed only when asked for, after a
run.
Source: the library's AttentionInterface; never `output_attentions` in the live path.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from playground.model.routing import current_routing

NAME = "playground_sdpa"


def observed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """The library's attention; keeps the rows that this call's routing asks for. Shapes as the library gives them."""
    routing = current_routing()
    layer = getattr(module, "layer_idx", -1)
    if routing is not None:
        scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
        for row, head in routing.observed.get(layer, ()):
            mask = None if attention_mask is None else attention_mask[row % attention_mask.shape[0], 0, -1]
            routing.attention[row] = head_row(query[row], key[row], head, scaling, mask)
        if routing.whole_layer == layer:
            routing.attention[layer] = all_heads(query, key, scaling)
    result: tuple[Tensor, Tensor | None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    return result


def head_row(query: Tensor, key: Tensor, head: int, scaling: float, mask: Tensor | None) -> Tensor:
    """Attention (S,) float32 of the newest token in one head. `query` (H, T, D), `key` (K, S, D), `mask` (S,) or None,
    boolean (True may be seen) or added."""
    group = query.shape[0] // key.shape[0]
    scores = (key[head // group] @ query[head, -1]).float() * scaling
    if mask is not None:
        line = mask[: scores.shape[-1]]
        scores = scores.masked_fill(~line, -torch.inf) if line.dtype == torch.bool else scores + line.float()
    return torch.softmax(scores, dim=-1)


def all_heads(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Causal attention (B, H, T, S) float32 of every head, for one unpadded call that holds the whole text."""
    repeated = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = (query.float() @ repeated.float().transpose(-1, -2)) * scaling
    length = scores.shape[-1]
    future = torch.ones(scores.shape[-2], length, dtype=torch.bool, device=scores.device).triu(
        1 + length - scores.shape[-2]
    )
    return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1)


def observe_attention(model: Any) -> None:
    """Make `model` use the observed attention. Raises nothing for a model without attention; it stays as it is."""
    AttentionInterface.register(NAME, observed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if getattr(model.config, "num_attention_heads", 0):
        model.set_attn_implementation(NAME)
