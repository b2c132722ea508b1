"""Makes the gates that ship: trains or writes each over the experts that are installed, and the loss ablation."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.core.values import Pool
from playground.encode.base import TextEncoder
from playground.learn.gates.joint import train_joint
from playground.learn.gates.objectives import ABLATION, OBJECTIVES, shortened
from playground.learn.gates.trainer import GateProgress, train_gate
from playground.learn.gates.untrained import write_untrained
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.routers.gate.topk_moe import TopKMoe

ABLATION_STEPS = 30


@dataclass(frozen=True, eq=False)
class GateFitting:
    """What every fit needs: the model with its bank, the encoder, the experts' data, and where checkpoints go."""

    base: LanguageModel
    bank: Bank
    pool: Pool
    encoder: TextEncoder
    data: Path
    checkpoints: Path
    progress: Callable[[GateProgress], None] | None = None

    def fit(self, name: str, out: Path, *, steps: int | None = None) -> dict[str, Any]:
        """Make gate `name` in `out`, by training where it learns; returns its figures.

        Raises InvalidRequest for a router without a gate or missing data.
        """
        if name not in OBJECTIVES:
            return write_untrained(
                name,
                self.base,
                self.bank,
                self.pool,
                self.encoder,
                data=self.data,
                out=out,
                checkpoints=self.checkpoints,
            )
        return train_gate(
            name,
            self.base,
            self.bank,
            self.encoder,
            data=self.data,
            out=out,
            checkpoints=self.checkpoints,
            plan=shortened(OBJECTIVES.get(name).plan, steps),
            progress=self.progress,
        )

    def joint(self, out: Path, *, steps: int | None = None) -> dict[str, Any]:
        """Train a LoRA-Mixer gate together with the installed experts, whose new adapters go to `out`/experts."""
        cards = {expert.name: expert for expert in self.pool.experts}
        folders = [Path(cards[name].folder) for name in self.bank.names[1:]]
        adapters = [
            read_adapter(folder, name, self.base.model)
            for folder, name in zip(folders, self.bank.names[1:], strict=True)
        ]
        return train_joint(
            self.base,
            self.bank,
            adapters,
            folders,
            self.encoder,
            data=self.data,
            out=out,
            checkpoints=self.checkpoints,
            plan=shortened(OBJECTIVES.get("lora_mixer").plan, steps),
            progress=self.progress,
        )

    def ablate(self, *, steps: int | None = None) -> dict[str, Any]:
        """LoRA-Mixer's loss ablation: one linear gate (k = 3) trained with no balance loss, the usual one, and SBL.

        {"ablation": {loss: {"loss", "low", "high", "balance", "entropy", "own_weight"}}, "references", "steps"}.
        """
        rows: dict[str, Any] = {}
        references: dict[str, float] = {}
        for name, plan in ABLATION.items():
            with tempfile.TemporaryDirectory() as folder:
                made = train_gate(
                    "topk_moe",
                    self.base,
                    self.bank,
                    self.encoder,
                    data=self.data,
                    out=Path(folder),
                    checkpoints=self.checkpoints / "ablation",
                    plan=shortened(plan, steps or ABLATION_STEPS),
                    options=TopKMoe.Options(top_k=3),
                    progress=self.progress,
                )
            gate = made["measured"]["gate"]
            rows[name] = {"loss": gate["mean"], "low": gate["low"], "high": gate["high"], **made["last_steps"]}
            references = {key: made["measured"][key]["mean"] for key in ("base", "uniform", "oracle")}
        return {"ablation": rows, "references": references, "steps": steps or ABLATION_STEPS}
