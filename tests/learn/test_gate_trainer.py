"""The gate's losses against their closed forms, and that training touches the gate only and resumes where it was."""

import contextlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from playground.core.values import Expert, Pool
from playground.learn.examples import TrainingExample
from playground.learn.gates.balance import balance_terms
from playground.learn.gates.data import Owned, domains, spliced
from playground.learn.gates.fitting import GateFitting
from playground.learn.gates.joint import JointTrainer, joint_plan, train_joint
from playground.learn.gates.recipe import GATE_RECIPES, GatePlan
from playground.learn.gates.recipes.mogu import LEAN, SHARPER
from playground.learn.gates.states import kept_states, near_alone
from playground.learn.gates.trainer import CHECKPOINT_EVERY, GateProgress, GateTrainer
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.routers.gate.emotion_qwen import EmotionQwen
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.gate.mogu import Mogu
from playground.routers.parts import keep_top
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


class Letters:
    """An encoder of eight numbers: how often each of some letters occurs."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "aeiostnm"] for text in texts], np.float32) + 0.1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture
def parts(tmp_path: Path, tiny_model_folder: Path) -> Callable[[], tuple[LanguageModel, Bank, Letters]]:
    """Return a function that makes a new tiny base with two experts in a bank, and an encoder."""
    for slot, name in enumerate(("sentiment", "math")):
        write_tiny_expert(tmp_path / "experts", name, slot, seed=slot)

    def made() -> tuple[LanguageModel, Bank, Letters]:
        base = load_base(str(tiny_model_folder), torch.float32)
        bank = Bank(base.model)
        bank.stack([read_adapter(tmp_path / "experts" / name, name, base.model) for name in ("sentiment", "math")])
        return base, bank, Letters()

    return made


def fitting(made: tuple[LanguageModel, Bank, Letters], data: Path, checkpoints: Path, progress=None) -> GateFitting:
    base, bank, encoder = made
    folders = {name: str(data.parent / "experts" / name) for name in bank.names}
    pool = Pool(tuple(Expert(name, "lora", name, name, name[:2], 0, folder=folders[name]) for name in bank.names))
    return GateFitting(base, bank, pool, encoder, data, checkpoints, progress)


OPTIONS = {"lora_mixer": LoraMixer.Options(embedding_width=8), "emotion_qwen": EmotionQwen.Options(after=0)}
PLAN = GatePlan(
    steps=40, hard_steps=4, rows=8, spliced=1, rate=0.05, balance=1e-2, entropy=1e-3, own=0.3, max_tokens=320
)


@pytest.mark.parametrize("name", ["lora_mixer", "topk_moe", "xlora", "phatgoose"])
def test_every_gate_learns_and_changes_nothing_but_itself(name: str, tmp_path: Path, data: Path, parts) -> None:
    base, bank, encoder = parts()
    before = [site.weight.clone() for site in bank.sites]
    seen: list[GateProgress] = []
    plan = (
        replace(PLAN, steps=12, spliced=1) if name == "lora_mixer" else replace(PLAN, steps=12, hard_steps=0, spliced=0)
    )
    made = fitting((base, bank, encoder), data, tmp_path / "a", seen.append)
    whole = made.fit(name, tmp_path / "whole", plan=plan, options=OPTIONS.get(name))
    assert all(torch.equal(old, site.weight) for old, site in zip(before, bank.sites, strict=True))
    assert [step.step for step in seen if step.phase == "model"] == list(range(1, 13))
    assert [step.steps for step in seen if step.phase == "hidden states"] == [plan.hard_steps] * plan.hard_steps
    assert set(whole["measured"]) == {"base", "uniform", "gate", "oracle"}
    assert sum(whole["use"].values()) == pytest.approx(1, abs=1e-3)
    stored = load_file(tmp_path / "whole" / "params.safetensors")
    assert any(bool(tensor.float().abs().sum() > 0) for tensor in stored.values())


class Cut(Exception):
    pass


def fitted(parts, data: Path, out: Path, checkpoints: Path, *, cut: tuple[str, int] = ("", 0)) -> list[GateProgress]:
    """Return the steps that a training of LoRA-Mixer's gate makes. It is killed at the step `cut`."""
    seen: list[GateProgress] = []

    def progress(made: GateProgress) -> None:
        if (made.phase, made.step) == cut:
            raise Cut
        seen.append(made)

    with contextlib.suppress(Cut):
        made = fitting(parts(), data, checkpoints, progress)
        made.fit("lora_mixer", out, plan=PLAN, options=OPTIONS["lora_mixer"])
    return seen


@pytest.mark.parametrize(
    ("cut", "first"), [(("model", 27), ("model", 26)), (("hidden states", 4), ("hidden states", 3))]
)
def test_a_cut_training_goes_on_where_it_was(
    cut: tuple[str, int], first: tuple[str, int], tmp_path: Path, data: Path, parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHECKPOINT_EVERY, "hidden states", 2)
    fitted(parts, data, tmp_path / "whole", tmp_path / "a")
    fitted(parts, data, tmp_path / "cut", tmp_path / "b", cut=cut)
    assert not (tmp_path / "cut").exists()
    again = fitted(parts, data, tmp_path / "cut", tmp_path / "b")
    assert (again[0].phase, again[0].step) == first
    same = [load_file(tmp_path / name / "params.safetensors")["matrix"] for name in ("whole", "cut")]
    torch.testing.assert_close(same[0], same[1], atol=2e-3, rtol=0)


def test_a_training_of_something_else_or_that_has_ended_is_not_gone_on_from(tmp_path: Path, data: Path, parts) -> None:
    begin = ("hidden states", 1)
    fitted(parts, data, tmp_path / "out", tmp_path / "kept", cut=("model", 27))
    shutil.rmtree(tmp_path / "experts" / "math")
    write_tiny_expert(tmp_path / "experts", "math", 1, seed=9)  # an expert under the same name was trained anew
    changed = fitted(parts, data, tmp_path / "out", tmp_path / "kept")
    assert (changed[0].phase, changed[0].step) == begin
    ended = fitted(parts, data, tmp_path / "out", tmp_path / "kept")
    assert (ended[0].phase, ended[0].step) == begin


def test_the_hard_phase_alone_tells_experts_apart(data: Path, parts, tmp_path: Path) -> None:
    made = fitting(parts(), data, tmp_path / "a").fit(
        "lora_mixer",
        tmp_path / "gate",
        plan=replace(PLAN, steps=0, hard_steps=121, spliced=0),  # the last step reads the prompt
        options=OPTIONS["lora_mixer"],
    )
    assert made["use"]["base"] < 0.1  # no row is the base's
    assert made["use"]["sentiment"] == pytest.approx(0.5, abs=0.25)


def test_states_of_the_even_mix_are_the_same_whoever_owns_the_row(parts, data: Path, tmp_path: Path) -> None:
    base, bank, encoder = parts()
    training, _ = domains(base, encoder, bank.names, data, rows=lambda expert: 4, limit=320, seed=0, kept=tmp_path)
    row = training["math"][0]
    other = replace(row, owners=(1,) * len(row.owners))

    def states(plan: GatePlan) -> list[torch.Tensor]:
        experts = ("base", "math")
        found = [
            kept_states(base, bank, [owned], plan=plan, experts=experts, owners=lambda owned: owned.owners)
            for owned in (row, other)
        ]
        assert [sorted(set(each.owners[0].tolist())) for each in found] == [[2], [1]]
        return [each.hidden for each in found]

    assert torch.equal(*states(replace(PLAN, even_states=True)))
    assert not torch.equal(*states(PLAN))


def test_states_near_the_answer_are_of_no_other_place(parts, data: Path, tmp_path: Path) -> None:
    base, bank, encoder = parts()
    training, _ = domains(base, encoder, bank.names, data, rows=lambda expert: 4, limit=320, seed=0, kept=tmp_path)
    row = training["math"][0]
    start = row.example.start
    near = replace(row, owners=tuple(int(start - 5 <= place < start + 5) for place in range(len(row.owners))))
    owners = {
        plan.near_answer: kept_states(
            base, bank, [near], plan=plan, experts=bank.names, owners=lambda owned: owned.owners
        )
        for plan in (PLAN, replace(PLAN, near_answer=True))
    }
    assert owners[True].owners.min() == 1
    assert owners[False].owners.min() == 0


def test_only_where_answers_begin_is_a_mix_at_work_while_states_near_them_are_kept() -> None:
    rows = [Owned(TrainingExample((1,) * 14, start, "p", ""), (0,) * 14, torch.zeros(1), "") for start in (7, 2)]
    even = torch.full((2, 14, 2), 0.5)
    mixed = near_alone(even, rows)[..., 1] > 0
    assert [row.nonzero().flatten().tolist() for row in mixed] == [list(range(2, 12)), list(range(7))]


def test_half_of_mogu_s_rows_are_the_safe_expert_s_and_refusals_alone_are_safe() -> None:
    recipe = GATE_RECIPES.get("mogu")
    assert sum(recipe.draws(name) for name in ("math", "code", "safe")) == 2 + recipe.draws("safe") >= 4
    assert [recipe.owner("safe", task) for task in ("refusals", "contrast", "benign", "lookalike")] == [
        "safe",
        "safe",
        "base",
        "base",
    ]


def test_settled_dials_are_sharper_and_lean_to_the_usable_variant() -> None:
    router = Mogu(("base", "safe"), Mogu.Options(bottleneck=3, guard=-1, lead=-1), layers=4, width=6)
    gate = router.gate
    torch.nn.init.normal_(gate.up)
    torch.nn.init.normal_(gate.bias)
    hidden = torch.randn(1, 5, 6)
    before = gate.dials(1, hidden).logit()
    GATE_RECIPES.get("mogu").settle(router)
    lean = torch.tensor([LEAN, -LEAN])
    torch.testing.assert_close(gate.dials(1, hidden).logit(), SHARPER * before + lean, atol=1e-2, rtol=1e-2)


def test_spliced_rows_change_owner_where_the_second_part_begins(data: Path, parts, tmp_path: Path) -> None:
    base, bank, encoder = parts()
    training, _ = domains(base, encoder, bank.names, data, rows=lambda expert: 8, limit=320, seed=0, kept=tmp_path)
    for owned in spliced(base, encoder, training, count=5, limit=640, seed=0):
        first, second = owned.example.prompt.split("\n\n")
        text = [base.tokenizer.decode([token]) for token in owned.example.ids]
        turn = owned.owners.index(owned.owners[owned.example.start - 1])
        assert first in "".join(text[:turn])
        assert "".join(text[turn:]).lstrip().startswith(second)
        assert len(set(owned.owners)) == 2
        assert owned.owners[owned.example.start] == owned.owners[0]  # the first answer comes first


def joint(parts, data: Path, tmp_path: Path) -> tuple[JointTrainer, list[Owned], Bank]:
    base, bank, encoder = parts()
    training, _ = domains(base, encoder, bank.names, data, rows=lambda expert: 8, limit=320, seed=0, kept=tmp_path)
    router = LoraMixer(bank.names, OPTIONS["lora_mixer"], layers=base.layers, width=base.width)
    adapters = [read_adapter(tmp_path / "experts" / name, name, base.model) for name in bank.names[1:]]
    trainer = JointTrainer(router.gate, PLAN, base, bank, adapters)
    return trainer, [rows[0] for rows in training.values()], bank


def test_the_hard_phase_teaches_only_the_row_s_own_expert(parts, data: Path, tmp_path: Path) -> None:
    trainer, rows, _ = joint(parts, data, tmp_path)
    loss, _ = trainer.step_loss(rows[:1], done=0.1)
    loss["total"].backward()
    own, other = trainer.adapters
    assert own.name == "sentiment"
    assert any(half.grad.abs().sum() > 0 for pair in own.matrices.values() for half in pair)
    assert all(half.grad is None or not half.grad.any() for pair in other.matrices.values() for half in pair)
    assert trainer.gate.get_parameter("matrix").grad.abs().sum() > 0


def test_the_soft_phase_is_held_to_where_the_adapters_began(parts, data: Path, tmp_path: Path) -> None:
    trainer, rows, _ = joint(parts, data, tmp_path)
    still, _ = trainer.step_loss(rows, done=1.0)
    plain, _ = GateTrainer.step_loss(trainer, rows, done=1.0)
    assert float(still["total"].detach()) == pytest.approx(float(plain["total"].detach()), rel=1e-5)
    for parameter in trainer.adapter_parameters():
        parameter.data += 0.1
    moved, _ = trainer.step_loss(rows, done=1.0)
    plain, _ = GateTrainer.step_loss(trainer, rows, done=1.0)
    numbers = sum(parameter.numel() for parameter in trainer.adapter_parameters())
    assert float((moved["total"] - plain["total"]).detach()) == pytest.approx(1e-3 * 0.01 * numbers, rel=1e-3)


def test_joint_training_writes_adapters_that_are_read_back_as_trained(parts, data: Path, tmp_path: Path) -> None:
    base, bank, encoder = parts()
    base_before = [site.weight[: site.width].clone() for site in bank.sites]
    folders = [tmp_path / "experts" / name for name in bank.names[1:]]
    old = [read_adapter(folder, folder.name, base.model) for folder in folders]
    recipe, plan = GATE_RECIPES.get("lora_mixer"), joint_plan(replace(PLAN, steps=12))
    material = fitting((base, bank, encoder), data, tmp_path / "a").material(recipe, plan)
    train_joint(base, bank, folders, material, out=tmp_path / "out", plan=plan, options=OPTIONS["lora_mixer"])
    assert all(torch.equal(b, s.weight[: s.width]) for b, s in zip(base_before, bank.sites, strict=True))
    trained = [site.weight.clone() for site in bank.sites]
    fresh = load_base(str(base.name), torch.float32)
    again = Bank(fresh.model)
    again.stack([read_adapter(tmp_path / "out" / "experts" / f.name, f.name, fresh.model) for f in folders])
    for site, expected in zip(again.sites, trained, strict=True):
        torch.testing.assert_close(site.weight, expected, atol=1e-6, rtol=0)
    unchanged = [read_adapter(folder, folder.name, fresh.model) for folder in folders]
    for first, second in zip(old, unchanged, strict=True):
        assert all(torch.equal(first.matrices[p][0], second.matrices[p][0]) for p in first.matrices)
    assert not torch.equal(trained[0], Bank(load_base(str(base.name), torch.float32).model).sites[0].weight)
