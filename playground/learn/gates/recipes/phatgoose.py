"""PHATGOOSE: each expert's vector learns on the expert's own rows (arXiv:2402.05859)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from playground.learn.gates.data import Owned
from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.phatgoose import OWN, Phatgoose


@gate_recipe("phatgoose")
class PhatgooseRecipe(GateRecipe[Phatgoose]):
    """Answer loss. Each row uses only its own expert, opened by the sigmoid of its vector."""

    plan = GatePlan(steps=30, rate=5e-3)

    def memory(self, owned: Owned) -> Mapping[str, Tensor]:
        """Return the row's own expert."""
        return {OWN: torch.tensor(owned.expert)}
