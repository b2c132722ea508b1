"""Single tokens through the quick layers against the library's own layers, of three architectures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.quick import QuickLayer
from playground.model.routing import Routing, RowRouting, forward, gate_routing
from playground.routers.parts import LinearGate

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=2)),
    "llama, a key for each query": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=4)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=None)),
    "qwen2, with biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=1)),
}
TARGETS = ("q_proj", "k_proj", "o_proj", "gate_proj", "down_proj")


def _adapters(model: Any) -> list[Adapter]:
    random = torch.Generator().manual_seed(5)

    def pair(module: Any) -> tuple[Tensor, Tensor]:
        down = torch.randn(4, module.in_features, generator=random)
        return down, 0.1 * torch.randn(module.out_features, 4, generator=random)

    linears = {path: module for path, module in model.named_modules() if path.rpartition(".")[2] in TARGETS}
    return [
        Adapter(name=name, matrices={path: pair(module) for path, module in linears.items()}) for name in ("one", "two")
    ]


def _routings(bank: Bank, rows: int) -> list[RowRouting]:
    gate = LinearGate(bank.names, 3, 32, top_k=2)
    torch.nn.init.normal_(gate.matrix, generator=torch.Generator().manual_seed(1))
    gate.eval().requires_grad_(False)
    gated = [gate_routing(gate, bank.names, prompt_tokens=5) for _ in range(rows - 1)]
    return [*gated, RowRouting(constant=torch.tensor([0.0, 0.4, 0.6]))]


@contextmanager
def _library_layers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make every layer compute as the library does, inside the `with`."""
    with monkeypatch.context() as patched:
        patched.setattr(
            QuickLayer, "forward", lambda self, *given, **named: super(QuickLayer, self).forward(*given, **named)
        )
        yield


def _decoded(model: Any, bank: Bank, *, padded: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return logits, attention and weights of three tokens after a prompt of five, for two rows."""
    ids = torch.arange(16).view(2, 8) * 3 % 64
    rows = _routings(bank, 2)
    mask = torch.ones(2, 8, dtype=torch.long)
    if padded:
        mask[0, :3] = 0
    cache = DynamicCache(config=model.config)
    logits, seen, weights = [], [], []
    for start, end in ((0, 5), (5, 6), (6, 7), (7, 8)):
        routing = Routing(rows, len(bank), observed={1: [(0, 3), (1, 0)]})
        given = {"attention_mask": mask[:, :end], "position_ids": (mask[:, :end].cumsum(1) - 1)[:, start:].clamp_min(0)}
        with torch.inference_mode():
            output = forward(model, routing, ids[:, start:end], past_key_values=cache, use_cache=True, **given)
        logits.append(output.logits[:, -1])
        seen += [routing.attention[0], routing.attention[1]]
        weights.append(routing.stacked(3))
    return logits, seen, weights


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_single_tokens_are_as_by_the_librarys_layers(name: str, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval().requires_grad_(False)
    for module in model.modules():  # norms and biases are 1 and 0 in a new model, which would hide a mistake
        if type(module).__name__.endswith("RMSNorm"):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.normal_(module.bias)
    adapters = _adapters(model)
    bank = Bank(model)
    bank.stack(adapters)
    assert all(isinstance(layer, QuickLayer) for layer in model.model.layers)
    with _library_layers(monkeypatch):
        expected = _decoded(model, bank, padded=padded)
    steps = []
    kept = QuickLayer._step
    monkeypatch.setattr(QuickLayer, "_step", lambda *given: steps.append(1) or kept(*given))
    found = _decoded(model, bank, padded=padded)
    assert len(steps) == 3 * 3  # three tokens through three layers, the prompt not
    for mine, theirs in zip(found, expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_layers_of_another_form_stay_the_librarys() -> None:
    from transformers import MambaConfig, MambaForCausalLM  # noqa: PLC0415  (slow to import)

    model = MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4))
    Bank(model)
    assert not any(isinstance(module, QuickLayer) for module in model.modules())


def test_a_sliding_cache_goes_the_librarys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MistralForCausalLM(MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=4)).eval()
    bank = Bank(model.requires_grad_(False))
    monkeypatch.setattr(QuickLayer, "_step", lambda *_: pytest.fail("a sliding window was not heeded"))
    cache = DynamicCache(config=model.config)
    routing = Routing([RowRouting(constant=torch.ones(1))], len(bank))
    with torch.inference_mode():
        for token in range(6):
            forward(model, routing, torch.tensor([[token]]), past_key_values=cache, use_cache=True)
