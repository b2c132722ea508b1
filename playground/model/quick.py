"""Take one token of each row through a decoder layer of the Llama form with few operations.

The library's layer spends half of the time between the products: on norms of eight operations, two rotary turns, views
and keyword arguments. Here a layer is two norms, its sites, one turn for queries and keys together, and one call for
attention. Prompts, training and other architectures take the library's way.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import DynamicLayer
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from playground.model.attention import newest_values
from playground.model.routing import Routing, current_routing


class QuickLayer:
    """Compute single tokens quickly, and leave everything else to the library's layer class it is mixed into.

    `norms` are the weights of both norms, each twice over (2 d,).
    """

    self_attn: Any
    mlp: Any
    input_layernorm: Any
    norms: tuple[Tensor, Tensor]

    def forward(self, hidden_states: Tensor, *arguments: Any, **named: Any) -> Tensor:
        """Return (B, T, d) for (B, T, d), as the library's layer does."""
        routing, cache = current_routing(), named.get("past_key_values")
        if (
            routing is None
            or hidden_states.shape[1] != 1
            or torch.is_grad_enabled()
            or routing.on_attention is not None
            or cache is None
            or type(cache.layers[self.self_attn.layer_idx]) is not DynamicLayer
        ):
            return super().forward(hidden_states, *arguments, **named)  # type: ignore[misc, no-any-return]
        turn = named["position_embeddings"]
        return self._step(hidden_states[:, 0], routing, cache, turn, named.get("attention_mask")).unsqueeze(1)

    def _step(
        self, hidden: Tensor, routing: Routing, cache: Any, turn: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Return (B, d) for (B, d), and put the new keys and values into `cache`.

        `turn` and `mask` are as the library gives them.
        """
        attention, mlp, epsilon = self.self_attn, self.mlp, self.input_layernorm.variance_epsilon
        index, width = attention.layer_idx, attention.head_dim
        reading, leaving = attention.q_proj.site, attention.o_proj.site
        normed = _normed(hidden, self.norms[0], epsilon)
        weights = None if routing.is_base_only else routing.decide(index, normed.unsqueeze(1))[:, 0]
        joint = reading.joint(normed, reading.share(weights))
        heads = joint.view(len(joint), -1, width)
        queries, keys = reading.splits[0] // width, reading.splits[1] // width
        turned = _turned(heads[:, : queries + keys], routing, *turn)
        key, value = cache.update(turned[:, queries:].unsqueeze(2), heads[:, queries + keys :].unsqueeze(2), index)
        mixed = newest_values(
            turned[:, :queries], key, value, mask, scaling=attention.scaling, layer=index, routing=routing
        ).flatten(1)
        hidden = hidden + leaving.joint(mixed, leaving.share(weights))
        widening, narrowing = mlp.gate_proj.site, mlp.down_proj.site
        normed = _normed(hidden, self.norms[1], epsilon)
        gate, up = widening.joint(normed, widening.share(weights)).chunk(2, dim=1)
        return hidden + narrowing.joint(mlp.act_fn(gate) * up, narrowing.share(weights))


def _turned(states: Tensor, routing: Routing, cos: Tensor, sin: Tensor) -> Tensor:
    """Return `states` (B, heads, D) with rotary positions. `cos` and `sin` are (B or 1, 1, D)."""
    half = states.shape[-1] // 2
    if routing.turn is None:
        routing.turn = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
    return torch.addcmul(states * cos, states.roll(half, -1), routing.turn)


def _normed(hidden: Tensor, twice: Tensor, epsilon: float) -> Tensor:
    """Return `hidden` (B, d) over its root mean square.

    It uses the layer norm kernel: x beside -x has mean 0.
    """
    both = torch.cat((hidden, -hidden), dim=-1)
    return functional.layer_norm(both, twice.shape, twice, None, epsilon)[:, : hidden.shape[-1]]


LIBRARY = (LlamaDecoderLayer, MistralDecoderLayer, Qwen2DecoderLayer)
QUICK = {layer: type(f"Quick{layer.__name__}", (QuickLayer, layer), {}) for layer in LIBRARY}


def quicken(model: nn.Module) -> None:
    """Let layers of `model` compute single tokens quickly.

    These are the layers of the Llama form whose linear modules stand in sites.
    """
    found: list[Any] = [layer for layer in model.modules() if type(layer) in QUICK]
    for layer in found:
        layer.__class__ = QUICK[type(layer)]
        weights = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
        layer.norms = tuple(torch.cat((weight, weight)).detach() for weight in weights)
