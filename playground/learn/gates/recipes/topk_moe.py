"""The usual mixture of experts: task loss and load balance alone (Switch Transformer, arXiv:2101.03961 eq. 4 to 6)."""

from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.topk_moe import TopKMoe

# LoRA-Mixer's ablation: nothing but answer loss and a balance loss, so that nothing names the owner of a token
ABLATION = {
    "none": GatePlan(steps=80),
    "auxiliary": GatePlan(steps=80, balance=1e-2),
    "specialization": GatePlan(steps=80, balance=1e-2, entropy=1e-2),
}


@gate_recipe("topk_moe")
class TopKRecipe(GateRecipe[TopKMoe]):
    """Answer loss and load balance. Nothing names the owner of a token."""

    plan = GatePlan(steps=60, balance=1e-2)
