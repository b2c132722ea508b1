"""LoRA-Mixer: first whose token is whose on kept hidden states, then answer loss with the Specialization Balance Loss.

Source: arXiv:2507.00029. The loss is balance plus λ H(p), with the sign that sharpens each token: the paper's text says
so, its formula does not.
"""

from collections.abc import Mapping
from typing import Any

import torch

from playground.learn.gates.recipe import GateMaterial, GatePlan, GateRecipe, gate_recipe, mean_prompts
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.prior import KAPPA


@gate_recipe("lora_mixer")
class LoraMixerRecipe(GateRecipe[LoraMixer]):
    """The hard phase is the cross-entropy to each token's owner."""

    plan = GatePlan(steps=20, hard_steps=300, spliced=1, balance=1e-2, entropy=1e-3, own=0.3)

    def prepare(self, router: LoraMixer, material: GateMaterial) -> tuple[LoraMixer, Mapping[str, Any]]:
        """Begin the prompt matrix (G, d_z) at twelve times each expert's mean prompt, as the cards' prior does."""
        matrix = router.gate.prompt_matrix
        with torch.no_grad():
            matrix.copy_(KAPPA * mean_prompts(self, router, material, matrix))
        return router, {}
