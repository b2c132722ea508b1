"""The usual mixture of experts: a linear gate per layer, the k heaviest kept, trained by the task and a load balance.

Source: top-k gating of arXiv:1701.06538, balance loss of the Switch Transformer arXiv:2101.03961 eq. 4. It is not
told which expert a row belongs to: it learns from the answers' loss alone.
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
    """Parameters are one (L, G, d) tensor."""

    class Options(RouterOptions):
        """How many experts act."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")

    options: Options

    def build(self) -> Gate:
        """Return a gate that weighs all experts alike."""
        return LinearGate(self.experts, self.layers, self.width, top_k=self.options.top_k)
