"""Make gates: begin each as its recipe says, train it if it learns, measure it and write it. Also run the ablation.

All gates take the same path. Base and adapters are left as they are.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from playground.core.values import Pool
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest
from playground.learn.checkpoint import Checkpoint
from playground.learn.fingerprints import fingerprint, of_adapters, of_gate
from playground.learn.gates.data import Owned, domains, spliced
from playground.learn.gates.joint import joint_plan, train_joint
from playground.learn.gates.measures import measure, sentence
from playground.learn.gates.recipe import GateMaterial, GatePlan, GateRecipe, recipe_for
from playground.learn.gates.recipes.lora_mixer import LoraMixerRecipe
from playground.learn.gates.recipes.topk_moe import ABLATION
from playground.learn.gates.trainer import GateProgress, GateTrainer
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.subspaces import input_directions
from playground.routers.artefact import add_to_card
from playground.routers.base import ROUTERS, GateRouter, Installed, RouterOptions
from playground.routers.library import SHIPPED

ABLATION_STEPS = 30


@dataclass(frozen=True, eq=False)
class GateFitting:
    """What every fit needs: the model with its bank, the cards of its experts, the encoder, the experts' data.

    Checkpoints go to the folder `checkpoints`. The folder `routers` holds the routers that ship with the app.
    """

    base: LanguageModel
    bank: Bank
    pool: Pool
    encoder: TextEncoder
    data: Path
    checkpoints: Path
    progress: Callable[[GateProgress], None] | None = None
    routers: Path = SHIPPED

    def fit(
        self,
        name: str,
        out: Path,
        *,
        plan: GatePlan | None = None,
        options: RouterOptions | None = None,
        steps: int | None = None,
    ) -> dict[str, Any]:
        """Make gate `name` in the folder `out` and return its figures.

        `plan` is that of the recipe by default. `steps` replaces its number of steps through the model. Raise
        InvalidRequest for a router without a gate, or for missing data. Raise ArtefactError when the gate copies from
        another gate that cannot be read.
        """
        kind = gate_kind(name)
        recipe = recipe_for(kind)
        plan = (plan or recipe.plan).shortened(steps)
        torch.manual_seed(plan.seed)
        router = kind(recipe.experts(self.bank.names), options, layers=self.base.layers, width=self.base.width)
        material = self.material(recipe, plan)
        router, facts = recipe.prepare(router, material)
        learned: dict[str, Any] = {}
        checkpoint = None
        if plan.has_steps and list(router.gate.parameters()):
            checkpoint = self._checkpoint(router, plan, material)
            trainer = GateTrainer(router.gate, recipe, plan, self.base, self.bank, checkpoint=checkpoint)
            two_part = material.two_part if plan.spliced else []
            use = trainer.fit(material.training, two_part, self.progress)
            learned = {"use": use, "last_steps": trainer.last_steps()}
        router.gate.eval().requires_grad_(False)
        recipe.settle(router)
        router.save(out)
        measured = measure(router.gate_for(self._installed(material)), self.base, self.bank, material.validation)
        figure = sentence(measured)
        add_to_card(out, figure=figure, measured=measured, **facts)
        if learned:
            add_to_card(out, training=asdict(plan), use=learned["use"])
        if checkpoint:
            checkpoint.forget()
        return {"figure": figure, "measured": measured, **facts, **learned}

    def material(self, recipe: GateRecipe[Any], plan: GatePlan) -> GateMaterial:
        """Return the rows and cards that a recipe begins with. Raise InvalidRequest when data is missing."""
        training, validation = domains(
            self.base,
            self.encoder,
            self.bank.names,
            self.data,
            rows=lambda expert: recipe.rows(expert, plan),
            limit=plan.max_tokens,
            seed=plan.seed,
            kept=self.checkpoints,
        )
        count, limit = recipe.two_part_rows(plan), 2 * plan.max_tokens
        cards = {expert.name: expert for expert in self.pool.experts}
        return GateMaterial(
            names=self.bank.names,
            descriptors=describe(self.encoder, Pool(tuple(cards[name] for name in self.bank.names))),
            width=self.base.width,
            training=training,
            validation=validation,
            two_part=spliced(self.base, self.encoder, training, count=count, limit=limit, seed=plan.seed),
            routers=self.routers,
        )

    def _checkpoint(self, router: GateRouter, plan: GatePlan, material: GateMaterial) -> Checkpoint:
        """Return where the training is saved. A checkpoint made for other inputs is ignored."""
        rows: list[Owned] = [owned for rows in (*material.training.values(), material.two_part) for owned in rows]
        return Checkpoint(
            self.checkpoints / f"gate-{router.spec.name}",
            {
                "plan": asdict(plan),
                "gate": of_gate(router.gate),
                "base": self.base.name,
                "experts": [self.bank.names, of_adapters(self.bank)],
                "rows": fingerprint(*(f"{owned.example} {owned.owners}" for owned in rows)),
            },
        )

    def _installed(self, material: GateMaterial) -> Installed:
        return Installed(material.names, material.descriptors, lambda: input_directions(self.bank, self.base.width))

    def joint(self, out: Path, *, steps: int | None = None) -> dict[str, Any]:
        """Train a LoRA-Mixer gate together with the installed experts. Their new adapters go to `out`/experts."""
        cards = {expert.name: expert for expert in self.pool.experts}
        folders = [Path(cards[name].folder) for name in self.bank.names[1:]]
        recipe = LoraMixerRecipe()
        plan = joint_plan(recipe.plan.shortened(steps))
        material = self.material(recipe, plan)
        return train_joint(self.base, self.bank, folders, material, out=out, plan=plan, progress=self.progress)

    def ablate(self, *, steps: int | None = None) -> dict[str, Any]:
        """Return LoRA-Mixer's loss ablation: one linear gate (k = 3) with each of three balance losses.

        These are none, the usual one, and the Specialization Balance Loss.
        {"ablation": {loss: {"loss", "low", "high", "balance", "entropy", "own_weight"}}, "references", "steps"}.
        """
        apart = replace(self, checkpoints=self.checkpoints / "ablation")
        rows: dict[str, Any] = {}
        references: dict[str, float] = {}
        options = ROUTERS.get("topk_moe").Options.of({"top_k": 3})
        for name, plan in ABLATION.items():
            with tempfile.TemporaryDirectory() as folder:
                shorter = plan.shortened(steps or ABLATION_STEPS)
                made = apart.fit("topk_moe", Path(folder), plan=shorter, options=options)
            gate = made["measured"]["gate"]
            rows[name] = {"loss": gate["mean"], "low": gate["low"], "high": gate["high"], **made["last_steps"]}
            references = {key: made["measured"][key]["mean"] for key in ("base", "uniform", "oracle")}
        return {"ablation": rows, "references": references, "steps": steps or ABLATION_STEPS}


def gate_kind(name: str) -> type[GateRouter]:
    """Return the gate router called `name`. Raise InvalidRequest for a router without a gate."""
    kind = ROUTERS.get(name)
    if not issubclass(kind, GateRouter):
        raise InvalidRequest(f"{name} has no gate.", "Choose a gate.")
    return kind
