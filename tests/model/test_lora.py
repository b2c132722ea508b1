"""The stacked mixture against PEFT itself, and what a mixture must always be."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from playground.errors import InvalidRequest
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.model.routing import Routing, RowRouting, current_routing, routed

IDS = torch.tensor([[5, 40, 77, 12, 90, 33, 8]])


def mixed_logits(base: LanguageModel, bank: Bank, weights: list[float], ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.inference_mode(), routed(Routing([RowRouting(constant=torch.tensor(weights))] * len(ids), len(bank))):
        return base.model(input_ids=ids).logits


def peft_logits(folder: Path, adapters: dict[str, Path], weights: dict[str, float]) -> torch.Tensor:
    """Return PEFT's logits: each adapter is scaled by its weight and added to the base weights."""
    model = load_base(str(folder), torch.float32).model
    base_weights = {name: value.clone() for name, value in model.state_dict().items()}
    total = {name: torch.zeros_like(value) for name, value in base_weights.items()}
    for name, weight in weights.items():
        fresh = load_base(str(folder), torch.float32).model
        merged = PeftModel.from_pretrained(fresh, adapters[name]).merge_and_unload()
        for key, value in merged.state_dict().items():
            total[key] += weight * (value - base_weights[key])
    model.load_state_dict({key: value + total[key] for key, value in base_weights.items()})
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def test_base_alone_is_the_plain_model_bit_for_bit(
    tiny_base: LanguageModel, bank: Bank, tiny_model_folder: Path
) -> None:
    plain = load_base(str(tiny_model_folder), torch.float32).model
    with torch.inference_mode():
        expected = plain(input_ids=IDS).logits
    assert torch.equal(mixed_logits(tiny_base, bank, [1, 0, 0, 0]), expected)
    assert torch.equal(mixed_logits(tiny_base, bank, [0, 0, 0, 0]), expected)
    with torch.inference_mode():  # and without any routing at all
        assert torch.equal(tiny_base.model(input_ids=IDS).logits, expected)


@pytest.mark.parametrize(
    "weights",
    [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0.25, 0.25, 0.25, 0.25), (0.1, 0.6, 0.0, 0.3)],
)
def test_fixed_weights_equal_peft(
    tiny_base: LanguageModel,
    bank: Bank,
    tiny_model_folder: Path,
    adapter_folders: dict[str, Path],
    weights: tuple[float, ...],
) -> None:
    chosen = dict(zip(bank.names[1:], weights[1:], strict=True))
    expected = peft_logits(tiny_model_folder, adapter_folders, chosen)
    assert expected.std() > 0.05  # the adapters do something
    torch.testing.assert_close(mixed_logits(tiny_base, bank, list(weights)), expected, atol=1e-4, rtol=0)


def test_rows_of_a_batch_keep_their_own_weights(tiny_base: LanguageModel, bank: Bank) -> None:
    rows = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0.5, 0.5]]
    together = Routing([RowRouting(constant=torch.tensor(row)) for row in rows], len(bank))
    with torch.inference_mode(), routed(together):
        batched = tiny_base.model(input_ids=IDS.expand(3, -1)).logits
    for row, weights in zip(batched, rows, strict=True):
        torch.testing.assert_close(row, mixed_logits(tiny_base, bank, weights)[0], atol=1e-5, rtol=0)


def test_restacking_replaces_the_experts(
    tiny_base: LanguageModel, bank: Bank, adapter_folders: dict[str, Path]
) -> None:
    before = mixed_logits(tiny_base, bank, [0, 0, 1, 0])
    bank.stack([read_adapter(adapter_folders["stabilised"], "stabilised", tiny_base.model)])
    torch.testing.assert_close(mixed_logits(tiny_base, bank, [0, 1]), before, atol=1e-5, rtol=0)


def test_routing_is_gone_after_the_call(tiny_base: LanguageModel, bank: Bank) -> None:
    mixed_logits(tiny_base, bank, [0, 1, 0, 0])
    assert current_routing() is None


def test_mamba_projections_are_mixed_too() -> None:
    """LoRA-Mixer claims state-space models: any named linear projection will do."""
    from transformers import MambaConfig, MambaForCausalLM  # noqa: PLC0415  (only this test needs it)

    from playground.model.adapters import Adapter  # noqa: PLC0415

    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=99, hidden_size=16, num_hidden_layers=2, state_size=4)).eval()
    with torch.inference_mode():
        plain = model(input_ids=IDS % 99, use_cache=False).logits
    path = "backbone.layers.1.mixer.in_proj"
    linear = model.get_submodule(path)
    down, up = torch.randn(2, 16), torch.randn(linear.out_features, 2)
    bank = Bank(model)
    bank.stack([Adapter("one", {path: (down, up)})])
    with torch.inference_mode():
        with routed(Routing([RowRouting(constant=torch.tensor([1.0, 0.0]))], 2)):
            assert torch.equal(model(input_ids=IDS % 99, use_cache=False).logits, plain)
        with routed(Routing([RowRouting(constant=torch.tensor([0.5, 0.5]))], 2)):
            half = model(input_ids=IDS % 99, use_cache=False).logits
    linear.weight.data += 0.5 * up @ down
    model.set_submodule(path, linear)
    with torch.inference_mode():
        torch.testing.assert_close(half, model(input_ids=IDS % 99, use_cache=False).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("no_config", "adapter_config.json cannot be read"),
        ("not_lora", "not a LoRA adapter"),
        ("dora", "use_dora is not supported"),
        ("no_weights", "no adapter_model.safetensors"),
        ("garbage", "is damaged"),
        ("head", "no linear module lm_head"),
        ("pattern", "alpha_pattern cannot be used"),
        ("rank", "configuration says 5"),
        ("alpha", "not a usable number"),
        ("replicated", "layer_replication is not supported"),
        ("foreign_module", "no linear module"),
        ("wrong_width", "trained for 64"),
        ("not_finite", "not finite"),
        ("half", "only one of lora_A and lora_B"),
    ],
)
def test_a_bad_adapter_is_refused_with_its_reason(
    broken_adapter: Path, tiny_base: LanguageModel, spoil: str, said: str
) -> None:
    config, weights = broken_adapter / "adapter_config.json", broken_adapter / "adapter_model.safetensors"
    values = json.loads(config.read_text())
    tensors = load_file(weights)
    key = next(name for name in tensors if name.endswith("q_proj.lora_A.weight"))
    if spoil == "no_config":
        config.write_bytes(b"\xff\x00")
    elif spoil == "not_lora":
        config.write_text(json.dumps({**values, "peft_type": "IA3"}))
    elif spoil == "dora":
        config.write_text(json.dumps({**values, "use_dora": True}))
    elif spoil == "replicated":
        config.write_text(json.dumps({**values, "layer_replication": [[0, 2]]}))
    elif spoil == "rank":
        config.write_text(json.dumps({**values, "r": 5}))
    elif spoil == "alpha":
        config.write_text(json.dumps({**values, "lora_alpha": float("nan")}))
    elif spoil == "pattern":
        config.write_text(json.dumps({**values, "alpha_pattern": {"(a+": 4}}))
    elif spoil == "head":
        sides = {"A": torch.zeros(2, 48), "B": torch.zeros(259, 2)}
        save_file({**tensors, **{f"base_model.model.lm_head.lora_{k}.weight": v for k, v in sides.items()}}, weights)
    elif spoil == "no_weights":
        weights.unlink()
    elif spoil == "garbage":
        weights.write_bytes(b"not safetensors at all")
    elif spoil == "foreign_module":
        save_file({name.replace("q_proj", "query"): value for name, value in tensors.items()}, weights)
    elif spoil == "wrong_width":
        save_file({**tensors, key: torch.zeros(2, 64)}, weights)
    elif spoil == "not_finite":
        save_file({**tensors, key: torch.full_like(tensors[key], torch.nan)}, weights)
    else:
        save_file({name: value for name, value in tensors.items() if name != key}, weights)
    with pytest.raises(InvalidRequest, match=said):
        read_adapter(broken_adapter, "spoiled", tiny_base.model)
