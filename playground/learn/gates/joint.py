"""LoRA-Mixer's other paradigm: experts and router learn together, first hard, then soft.

Source: arXiv:2507.00029, hard-soft routing. Hard: every row is routed to its own expert alone. Only that adapter gets
gradients, and the gate learns which expert owns the row. Soft: the gate routes, and gradients pass through its top-k
cut. Adapters learn at a tenth of the rate, and are held near to where they began. The base never changes.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from playground.learn.gates.data import Owned
from playground.learn.gates.measures import measure
from playground.learn.gates.recipe import GateMaterial, GatePlan
from playground.learn.gates.recipes.lora_mixer import LoraMixerRecipe
from playground.learn.gates.trainer import GateProgress, GateTrainer, RecordingGate
from playground.model.adapters import WEIGHTS, Adapter, half_of, read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.routers.artefact import add_to_card
from playground.routers.base import GateRun, RouterOptions
from playground.routers.gate.lora_mixer import LoraMixer, PromptedLinearGate

HARD_SHARE = 0.5
HARD_WEIGHT = 0.1
ADAPTER_SHARE = 0.1
PRESERVATION = 1e-3


class HardGate(RecordingGate):
    """Routes every token to its owner, and keeps the weights that the gate would have given."""

    def __init__(self, gate: PromptedLinearGate, owners: Tensor) -> None:
        super().__init__(gate)
        self.owners = owners

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G), one-hot of the owners, whatever the gate gives."""
        super().weights(layer, hidden, runs)
        return nn.functional.one_hot(self.owners, len(self.experts)).float()


class JointTrainer(GateTrainer):
    """A gate and the adapters of its bank in training together."""

    def __init__(
        self,
        gate: PromptedLinearGate,
        plan: GatePlan,
        base: LanguageModel,
        bank: Bank,
        adapters: Sequence[Adapter],
    ) -> None:
        super().__init__(gate, LoraMixerRecipe(), plan, base, bank)
        self.prompted = gate
        self.adapters = [
            Adapter(
                adapter.name,
                {
                    path: (nn.Parameter(down.clone()), nn.Parameter(up.clone()))
                    for path, (down, up) in adapter.matrices.items()
                },
            )
            for adapter in adapters
        ]
        self.start = [parameter.detach().clone() for parameter in self.adapter_parameters()]

    def adapter_parameters(self) -> list[Tensor]:
        """Return A and B of all adapters, in order."""
        return [matrix for adapter in self.adapters for pair in adapter.matrices.values() for matrix in pair]

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups: the gate at the full rate, the adapters at a tenth of it."""
        return [*super().groups(), {"params": self.adapter_parameters(), "share": ADAPTER_SHARE}]

    def step_loss(self, rows: Sequence[Owned], done: float) -> tuple[dict[str, Tensor], Tensor]:
        """Return the hard loss in the first half of the steps, then the soft one with the preservation term."""
        self.bank.stack(self.adapters)
        if done <= HARD_SHARE:
            longest = max(len(owned.owners) for owned in rows)
            owners = torch.tensor([[*owned.owners, *[0] * (longest - len(owned.owners))] for owned in rows])
            loss, use = self.routed_loss(HardGate(self.prompted, owners.to(self.base.model.device)), rows)
            return {**loss, "total": loss["answer"] + HARD_WEIGHT * loss["own"]}, use
        loss, use = super().step_loss(rows, done)
        moved = torch.stack(
            [(now - then).pow(2).sum() for now, then in zip(self.adapter_parameters(), self.start, strict=True)]
        )
        return {**loss, "total": loss["total"] + PRESERVATION * moved.sum()}, use

    def settle(self) -> None:
        """Stack the adapters as they are now in the bank, without gradients."""
        for adapter in self.adapters:
            for path, (down, up) in adapter.matrices.items():
                adapter.matrices[path] = (down.detach(), up.detach())
        self.bank.stack(self.adapters)


def joint_plan(plan: GatePlan) -> GatePlan:
    """Return `plan` without kept hidden states and two-part rows: adapters that change would make them stale."""
    return replace(plan, hard_steps=0, spliced=0)


def train_joint(
    base: LanguageModel,
    bank: Bank,
    folders: Sequence[Path],
    material: GateMaterial,
    *,
    out: Path,
    plan: GatePlan,
    options: RouterOptions | None = None,
    progress: Callable[[GateProgress], None] | None = None,
) -> dict[str, Any]:
    """Train a LoRA-Mixer gate together with the experts of `bank`, and return its measured figures.

    The gate goes to `out`. The new adapters go to folders of their names in `out`/experts, which begin as copies of
    `folders`. The given folders stay as they are. A killed run starts again, since it takes minutes only. Raise
    ValueError for an adapter whose scale differs between modules.
    """
    torch.manual_seed(plan.seed)
    adapters = [read_adapter(folder, name, base.model) for folder, name in zip(folders, bank.names[1:], strict=True)]
    router = LoraMixer(bank.names, options, layers=base.layers, width=base.width)
    before = measure(router.gate, base, bank, material.validation)["oracle"]
    trainer = JointTrainer(router.gate, plan, base, bank, adapters)
    LoraMixerRecipe().prepare(router, material)
    use = trainer.fit(material.training, [], progress)
    trainer.settle()
    router.gate.eval().requires_grad_(False)
    router.save(out)
    for adapter, source in zip(trainer.adapters, folders, strict=True):
        write_changed(adapter, source, out / "experts" / adapter.name)
    measured = measure(router.gate, base, bank, material.validation)
    add_to_card(out, measured=measured, oracle_before=before, use=use)
    return {"measured": measured, "oracle_before": before, "use": use}


def write_changed(adapter: Adapter, source: Path, target: Path) -> None:
    """Write a copy of the PEFT folder `source` with the matrices of `adapter`, whose B holds alpha / r.

    Raise ValueError for an adapter whose scale differs between modules.
    """
    shutil.copytree(source, target, dirs_exist_ok=True)
    config = json.loads((source / "adapter_config.json").read_text())
    if config.get("use_rslora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise ValueError(f"{adapter.name} has a scale of its own per module: it cannot be written back")
    scale = config["lora_alpha"] / config["r"]
    tensors = load_file(source / WEIGHTS)
    for key, old in tensors.items():
        half = half_of(key)
        if half is None:
            raise ValueError(f"{adapter.name} has a tensor {key}, which is neither lora_A nor lora_B")
        down, up = adapter.matrices[half.module]
        tensors[key] = (down if half.side == "A" else up / scale).detach().cpu().to(old.dtype).contiguous()
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
