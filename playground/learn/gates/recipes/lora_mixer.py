"""LoRA-Mixer: learn the owner of each token on kept hidden states. Then learn from answer and balance loss.

Source: arXiv:2507.00029, Specialization Balance Loss: balance plus λ H(p). Its sign sharpens the weights of each token,
as the paper's text says. The paper's formula has the other sign.
"""

from collections.abc import Mapping
from typing import Any

import torch

from playground.learn.gates.recipe import GateMaterial, GatePlan, GateRecipe, gate_recipe, mean_prompts
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.prior import KAPPA


@gate_recipe("lora_mixer")
class LoraMixerRecipe(GateRecipe[LoraMixer]):
    """A hard phase of cross-entropy to each token's owner, then a phase through the model."""

    plan = GatePlan(steps=20, hard_steps=300, spliced=1, balance=1e-2, entropy=1e-3, own=0.3)

    def prepare(self, router: LoraMixer, material: GateMaterial) -> tuple[LoraMixer, Mapping[str, Any]]:
        """Return the router, with KAPPA times each expert's mean prompt as its prompt matrix (G, d_z)."""
        matrix = router.gate.prompt_matrix
        with torch.no_grad():
            matrix.copy_(KAPPA * mean_prompts(self, router, material, matrix))
        return router, {}
