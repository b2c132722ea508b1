"""The usual mixture of experts: a linear gate per layer keeps the k heaviest experts.

Source: top-k gating of arXiv:1701.06538, balance loss of the Switch Transformer arXiv:2101.03961 eq. 4. The gate learns
from answer loss and load balance alone. Nothing tells it which expert a row belongs to.
"""

from pydantic import Field

from playground.routers.base import Gate, GateRouter, RouterOptions, router
from playground.routers.parts import LinearGate


@router(
    "topk_moe",
    title="Top-k gate with load balance",
    level="gate",
    paper="arXiv:2101.03961",
    trained_from="the experts' own training data, by answer loss and load balance alone",
)
class TopKMoe(GateRouter):
    """A router with a plain `LinearGate`. Its parameters are one tensor (L, G, d)."""

    class Options(RouterOptions):
        """How many experts act."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")

    options: Options

    def build(self) -> Gate:
        """Return a gate that weighs all experts alike."""
        return LinearGate(self.experts, self.layers, self.width, top_k=self.options.top_k)
