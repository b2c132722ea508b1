"""Attention: the library's fused kernel for many tokens, two float32 products for one, whose weights can be observed.

For one token the kernel is slow: 86 µs a layer at 128 tokens and 1081 at 1500, where the products take 46 and 180. So
observing while decoding costs nothing; all weights of a layer are computed only when asked for, after a run.
Source: the library's AttentionInterface; never `output_attentions` in the live path.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from playground.model.routing import current_routing

library_attention: Callable[..., tuple[Tensor, Tensor | None]] = sdpa_attention_forward
NAME = "playground_sdpa"
# arguments that do not change what attention computes, whatever their value, but for dropout
PLAIN = {"scaling", "dropout", "use_cache", "position_ids", "output_attentions", "is_causal", "sliding_window"}


def observed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """The library's attention; keeps the rows that this call's routing asks for. Shapes as the library gives them."""
    routing = current_routing()
    if routing is None:
        return library_attention(module, query, key, value, attention_mask, **kwargs)
    layer = getattr(module, "layer_idx", -1)
    scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
    if routing.whole_layer == layer:
        routing.attention[layer] = all_heads(query, key, scaling)
    if routing.each_layer is not None:
        routing.each_layer(layer, all_heads(query, key, scaling))
    observed = routing.observed.get(layer, ())
    if query.shape[2] == 1 and kwargs.keys() <= PLAIN and not kwargs.get("dropout"):
        weights = newest_rows(query, key, scaling, attention_mask)
        for row, head in observed:
            routing.attention[row] = weights[row, head]
        return weighted_values(weights, value), None
    for row, head in observed:
        mask = None if attention_mask is None else attention_mask[row % attention_mask.shape[0], :, -1:]
        newest = newest_rows(query[row : row + 1, :, -1:], key[row : row + 1], scaling, mask)
        routing.attention[row] = newest[0, head]
    return library_attention(module, query, key, value, attention_mask, **kwargs)


def newest_rows(query: Tensor, key: Tensor, scaling: float, mask: Tensor | None) -> Tensor:
    """Attention (B, H, S) float32 of one query a row. `query` (B, H, 1, D), `key` (B, K, S, D), `mask` (B, 1, 1, S) or
    None, boolean (True may be seen) or added."""
    rows, kept, length, width = key.shape
    grouped = query.reshape(rows * kept, -1, width).float() * scaling
    scores = torch.bmm(grouped, key.float().view(rows * kept, length, width).transpose(1, 2)).view(rows, -1, length)
    if mask is not None:
        line = mask[:, 0, :, :length]
        scores = scores.masked_fill(~line, -torch.inf) if line.dtype == torch.bool else scores + line
    return torch.softmax(scores, dim=-1)


def weighted_values(weights: Tensor, value: Tensor) -> Tensor:
    """(B, 1, H, D) in the values' format: `weights` (B, H, S) over `value` (B, K, S, D)."""
    rows, kept, length, width = value.shape
    mixed = torch.bmm(weights.view(rows * kept, -1, length), value.float().view(rows * kept, length, width))
    return mixed.to(value.dtype).view(rows, 1, -1, width)


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
