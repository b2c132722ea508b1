"""A trial pass keeps an adapter out whose numbers overflow, and leaves the model as it was."""

from pathlib import Path

import pytest
import torch

from playground.model.adapters import Adapter, read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.model.routing import Routing, RowRouting, routed
from playground.model.trial import failing, read_with, try_adapter

IDS = torch.tensor([[5, 40, 77, 12, 90, 33, 8]])


def huge(path: str, size: float, base: LanguageModel, side: str) -> Adapter:
    """An adapter of one module whose half `side` holds `size` everywhere."""
    module = base.model.get_submodule(path)
    down, up = torch.full((2, module.in_features), 0.1), torch.full((module.out_features, 2), 0.1)
    (down if side == "A" else up).fill_(size)
    return Adapter("huge", {path: (down, up)})


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("leaf", ["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj"])
def test_an_adapter_that_overflows_is_told_by_its_module(tiny_base: LanguageModel, leaf: str, side: str) -> None:
    path = f"model.layers.1.{leaf}"
    line = try_adapter(tiny_base, huge(path, 3e38, tiny_base, side))
    assert (line.state, line.title) == ("fail", "Trial")
    assert line.remedy


def test_outputs_that_are_not_finite_are_told(tiny_base: LanguageModel) -> None:
    tiny_base.model.lm_head.weight.data[3] = torch.inf
    assert try_adapter(tiny_base, Adapter("none", {})).detail == "with it, the model's outputs are not finite."


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_banked", [False, True])
def test_a_good_adapter_passes_and_nothing_stays_behind(
    tiny_model_folder: Path, adapter_folders: dict[str, Path], dtype: torch.dtype, is_banked: bool
) -> None:
    base = load_base(str(tiny_model_folder), dtype)
    if is_banked:
        Bank(base.model).stack([read_adapter(adapter_folders["wide"], "wide", base.model)])
    with torch.inference_mode():
        before = base.model(input_ids=IDS).logits
    for name, folder in adapter_folders.items():
        assert try_adapter(base, read_adapter(folder, name, base.model)).state == "pass"
    with pytest.raises(RuntimeError):  # also when the pass ends early
        try_adapter(base, Adapter("broken", {"model.layers.0.mlp.down_proj": (torch.ones(1, 5), torch.ones(48, 1))}))
    with torch.inference_mode():
        assert torch.equal(base.model(input_ids=IDS).logits, before)


def test_only_those_that_fail_are_named(tiny_base: LanguageModel, adapter_folders: dict[str, Path]) -> None:
    good = [read_adapter(folder, name, tiny_base.model) for name, folder in adapter_folders.items()]
    assert failing(tiny_base, []) == failing(tiny_base, good) == {}
    bad = huge("model.layers.0.self_attn.q_proj", 3e38, tiny_base, "B")
    assert list(failing(tiny_base, [good[0], bad, *good[1:]])) == ["huge"]


def test_the_trial_computes_what_the_bank_computes(tiny_base: LanguageModel, adapter_folders: dict[str, Path]) -> None:
    adapter = read_adapter(adapter_folders["wide"], "wide", tiny_base.model)
    logits, broken = read_with(tiny_base, [adapter], IDS[0].tolist())
    assert broken == ""
    bank = Bank(tiny_base.model)
    bank.stack([adapter])
    with torch.inference_mode(), routed(Routing([RowRouting(constant=torch.tensor([0.0, 1.0]))], 2)):
        expected = tiny_base.model(input_ids=IDS).logits[:, -1:]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
