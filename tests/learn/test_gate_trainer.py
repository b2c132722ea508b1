"""The gate's losses against their closed forms, and that training touches the gate only and resumes where it was."""

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from playground.learn.gate_trainer import GateTraining, balance_terms, train_gate
from playground.learn.tasks import TASKS
from playground.model.adapters import read_adapter
from playground.model.base import load_base
from playground.model.lora import Bank
from playground.routers.gate.lora_mixer import LoraMixer, keep_top
from tests.tiny import write_tiny_expert


def test_even_probabilities_are_balanced_and_most_uncertain() -> None:
    dense = torch.full((12, 4), 0.25)
    balance, entropy, use = balance_terms(dense, top_k=4)
    assert float(balance) == pytest.approx(1)
    assert float(entropy) == pytest.approx(math.log(4))
    assert use.tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_all_on_one_expert_costs_experts_over_k(top_k: int) -> None:
    dense = torch.zeros(10, 6)
    dense[:, 2] = 1
    balance, entropy, _ = balance_terms(dense, top_k)
    assert float(entropy) == pytest.approx(0, abs=1e-6)
    assert float(balance) == pytest.approx(6)  # only one expert has any weight, whatever k allows
    nearly = torch.full((10, 6), 1e-6)
    nearly[:, 2] = 1 - 5e-6
    assert float(balance_terms(nearly, top_k)[0]) == pytest.approx(6 / top_k, rel=1e-3)


def test_keep_top_keeps_the_largest_and_the_first_of_equals() -> None:
    weights = torch.tensor([[0.1, 0.4, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]])
    kept = keep_top(weights, 2)
    torch.testing.assert_close(kept, torch.tensor([[0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0]]))
    assert torch.equal(keep_top(weights, 4), weights)


def test_an_untrained_gate_is_uniform_and_save_load_is_exact(tmp_path: Path) -> None:
    router = LoraMixer(("base", "a", "b"), layers=2, width=8)
    hidden = torch.randn(1, 5, 8)
    torch.testing.assert_close(router.gate.weights(0, hidden), torch.full((1, 5, 3), 1 / 3))
    torch.nn.init.normal_(router.gate.matrix, std=2.0)
    router.gate.matrix.data = router.gate.matrix.data.half().float()  # what is stored is float16
    router.save(tmp_path / "gate")
    again = LoraMixer.load(tmp_path / "gate")
    assert again.experts == router.experts
    for layer in range(2):
        assert torch.equal(again.gate.weights(layer, hidden), router.gate.weights(layer, hidden))


def test_the_cut_is_sparse_forward_and_dense_backward() -> None:
    router = LoraMixer(("base", "a", "b", "c"), LoraMixer.Options(top_k=2), layers=1, width=8)
    gate = router.gate.train().requires_grad_(True)
    torch.nn.init.normal_(gate.matrix, std=2.0)
    hidden = torch.randn(1, 1, 8)
    weights = gate.weights(0, hidden)
    assert int((weights.detach() > 1e-6).sum()) == 2
    torch.testing.assert_close(weights.detach(), gate.eval().weights(0, hidden).detach())
    (weights * torch.arange(4.0)).sum().backward()
    assert bool((gate.matrix.grad.abs().sum(-1) > 0).all())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two tasks' worth of rows, enough to train a step on."""
    for name in ("sentiment", "general"):
        folder = tmp_path / "data" / TASKS[name].folder
        folder.mkdir(parents=True)
        for split, count in (("train", 30), ("test", 4)):
            rows = [{"prompt": f"{split} {name} {i}", "answer": ("positive", "negative")[i % 2]} for i in range(count)]
            with gzip.open(folder / f"{split}.jsonl.gz", "wt") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path / "data"


def test_training_changes_the_gate_only_and_resumes(tmp_path: Path, data: Path, tiny_model_folder: Path) -> None:
    write_tiny_expert(tmp_path / "experts", "sentiment", 0, seed=0)

    def parts() -> tuple:
        base = load_base(str(tiny_model_folder), torch.float32)
        adapter = read_adapter(tmp_path / "experts" / "sentiment", "sentiment", base.model)
        bank = Bank(base.model)
        bank.stack([adapter])
        return base, bank

    base, bank = parts()
    before = [site.weight.clone() for site in bank.sites]
    plan = GateTraining(steps=40, rows=8, rate=0.05, max_tokens=320)
    seen = []
    whole = train_gate(
        base, bank, data=data, out=tmp_path / "whole", checkpoints=tmp_path / "a", plan=plan, progress=seen.append
    )
    assert all(torch.equal(old, site.weight) for old, site in zip(before, bank.sites, strict=True))
    assert [step.step for step in seen] == list(range(1, 41))
    assert set(whole["measured"]) == {"base", "uniform", "gate", "oracle"}

    class Cut(Exception):
        pass

    def cut(step) -> None:
        if step.step == 27:
            raise Cut

    with pytest.raises(Cut):
        train_gate(*parts(), data=data, out=tmp_path / "cut", checkpoints=tmp_path / "b", plan=plan, progress=cut)
    again = []
    train_gate(*parts(), data=data, out=tmp_path / "cut", checkpoints=tmp_path / "b", plan=plan, progress=again.append)
    assert again[0].step == 21
    same = [load_file(tmp_path / name / "params.safetensors")["matrix"] for name in ("whole", "cut")]
    torch.testing.assert_close(same[0], same[1], atol=2e-3, rtol=0)
