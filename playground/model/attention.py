"""Compute attention with the library's fused kernel. For one token, the queries that share keys are rows of one call.

One token then takes 27 µs a layer at 90 tokens and 217 at 1500. The library's way takes 95 and 1081. The weights of an
observed layer are computed beside it. Those of whole layers are computed only on request, after a run.

Models whose attention has more than a mask (sinks, capped scores) have a plain function of their own, which also
returns its weights. They use that one, and nothing is computed twice.

Source: the library's AttentionInterface. `output_attentions` is never used while a run streams.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from playground.model.routing import Routing, current_routing

library_attention: Callable[..., tuple[Tensor, Tensor | None]] = sdpa_attention_forward
FUSED, PLAIN = "playground_sdpa", "playground_eager"
BLOCK = 256  # queries whose attention to everything is held at once
# arguments that do not change what attention computes; only dropout matters
HARMLESS = {"scaling", "dropout", "use_cache", "position_ids", "is_causal", "sliding_window", "cache_position"}
HARMLESS |= {"output_attentions", "output_hidden_states", "output_router_logits", "num_items_in_batch"}


def fused_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Return what the library's attention returns, and keep the rows that this call's routing asks for.

    Shapes are as the library gives them.
    """
    routing = current_routing()
    if routing is None:
        return library_attention(module, query, key, value, attention_mask, **kwargs)
    layer = getattr(module, "layer_idx", -1)
    if not kwargs.keys() <= HARMLESS:
        if routing.reads(layer):
            _, weights = plain_of(module)(module, query, key, value, _added(attention_mask, query, key), **kwargs)
            _keep(routing, layer, weights)
        return library_attention(module, query, key, value, attention_mask, **kwargs)
    scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
    if routing.on_attention is not None and routing.reads(layer):
        for first in range(0, query.shape[2], BLOCK):
            last = key.shape[2] - query.shape[2] + first + BLOCK  # later keys are not seen
            mask = None if attention_mask is None else attention_mask[:, :, first : first + BLOCK, :last]
            asking = query[:, :, first : first + BLOCK]
            routing.on_attention(layer, first, all_heads(asking, key[:, :, :last], scaling, mask))
    if query.shape[2] == 1 and not kwargs.get("dropout"):
        query = query[:, :, 0]
        mixed = newest_values(query, key, value, attention_mask, scaling=scaling, layer=layer, routing=routing)
        return mixed.unsqueeze(1), None
    for row, head in routing.observed.get(layer, ()):
        mask = None if attention_mask is None else attention_mask[[row % len(attention_mask)], :, -1:]
        newest = newest_rows(query[row : row + 1, :, -1], key[row : row + 1], scaling, mask)
        routing.attention[row] = newest[0, head]
    return library_attention(module, query, key, value, attention_mask, **kwargs)


def plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Return what the model's own plain attention returns, and keep what this call's routing asks for."""
    output, weights = plain_of(module)(module, query, key, value, attention_mask, **kwargs)
    routing = current_routing()
    if routing is not None:
        _keep(routing, getattr(module, "layer_idx", -1), weights)
    return output, weights


def plain_of(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """Return the plain attention function of the library's file that `module` is written in."""
    found: Callable[..., tuple[Tensor, Tensor | None]] = vars(sys.modules[type(module).__module__])[
        "eager_attention_forward"
    ]
    return found


def _keep(routing: Routing, layer: int, weights: Tensor | None) -> None:
    """Keep attention (B, H, T, S), or a part of it, when `routing` asks for this layer."""
    if weights is None or not routing.reads(layer):
        return
    if routing.on_attention is not None:
        routing.on_attention(layer, 0, weights.float())
    for row, head in routing.observed.get(layer, ()):
        routing.attention[row] = weights[row, head, -1].float()


def _added(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Return the mask as a term (B or 1, 1, T, S) of the scores. `mask` is None, boolean or such a term already."""
    if mask is None:
        mask = ~_future(query.shape[2], key.shape[2], query.device)[None, None]
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(
        ~mask, torch.finfo(query.dtype).min
    )


def _future(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return (T, S) bool: True where a key comes after the query. The last query and the last key are one token."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu(1 + keys - queries)


def newest_values(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scaling: float, layer: int, routing: Routing
) -> Tensor:
    """Return (B, H, D): the values that one query of each row attends to. Keep the rows that `routing` observes.

    `query` (B, H, D), `key` and `value` (B, K, S, D). `mask` (B, 1, 1, S) is None, boolean (True may be seen) or added
    to the scores.
    """
    observed = routing.observed.get(layer)
    if observed:
        weights = newest_rows(query, key, scaling, mask)
        for row, head in observed:
            routing.attention[row] = weights[row, head]
    grouped = query.reshape(len(query), key.shape[1], -1, query.shape[-1])
    if grouped.shape[2] == 1:  # a single row would not use the fused kernel
        grouped = grouped.expand(-1, -1, 2, -1)
    mixed = functional.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scaling)
    return mixed[:, :, : query.shape[1] // key.shape[1]].reshape(query.shape)


def newest_rows(query: Tensor, key: Tensor, scaling: float, mask: Tensor | None) -> Tensor:
    """Return attention (B, H, S) float32 of one query of each row. Shapes as in `newest_values`."""
    rows, kept, length, width = key.shape
    grouped = query.reshape(rows * kept, -1, width).float() * scaling
    scores = torch.bmm(grouped, key.float().view(rows * kept, length, width).transpose(1, 2)).view(rows, -1, length)
    if mask is not None:
        line = mask[:, 0, :, :length]
        scores = scores.masked_fill(~line, -torch.inf) if line.dtype == torch.bool else scores + line
    return torch.softmax(scores, dim=-1)


def all_heads(query: Tensor, key: Tensor, scaling: float, mask: Tensor | None = None) -> Tensor:
    """Return attention (B, H, T, S) float32 of every head.

    Without a `mask` it is causal. A mask is boolean (True may be seen) or added to the scores, (B or 1, 1, T, S).
    """
    repeated = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = (query.float() @ repeated.float().transpose(-1, -2)) * scaling
    if mask is None:
        scores = scores.masked_fill_(_future(scores.shape[-2], scores.shape[-1], scores.device), -torch.inf)
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill_(~mask[..., : scores.shape[-1]], -torch.inf)
    else:
        scores = scores.add_(mask[..., : scores.shape[-1]])
    return torch.softmax(scores, dim=-1)


def observe_attention(model: Any) -> None:
    """Make `model` use an attention that can be observed.

    A model without attention, or with one that cannot be replaced, stays as it is.
    """
    for name, function, mask in ((FUSED, fused_attention, sdpa_mask), (PLAIN, plain_attention, eager_mask)):
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, mask)
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "num_attention_heads", 0) and model._can_set_attn_implementation():
        model.set_attn_implementation(FUSED if model._supports_sdpa else PLAIN)
