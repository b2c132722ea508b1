"""X-LoRA: task loss alone (arXiv:2402.07148)."""

from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.xlora import XLora


@gate_recipe("xlora")
class XLoraRecipe(GateRecipe[XLora]):
    """Answer loss through the model, and nothing else."""

    plan = GatePlan(steps=40, rate=5e-3)
