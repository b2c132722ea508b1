"""X-LoRA: a small network reads the final hidden state and gives every layer its scalings, for all experts, densely.

Source: arXiv:2402.07148. There a first pass without adapters gives the hidden states of each token, and a second one
uses the scalings. Here the prompt is read twice so; then each token uses the final state of the one before it, under
the mixed model: one pass a token.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import Gate, GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import rms_normed

NOW = "scalings"


class ScalingGate(Gate):
    """`inner` (b, d) and `outer` (L, G, b): scalings of all layers from one hidden state, ReLU between, softmax."""

    reads_final = True

    def __init__(self, experts: Sequence[str], layers: int, width: int, *, bottleneck: int) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.inner = nn.Parameter(torch.randn(bottleneck, width) / width**0.5)
        self.outer = nn.Parameter(torch.zeros(layers, len(self.experts), bottleneck))

    def scalings(self, hidden: Tensor) -> Tensor:
        """(T, d) -> (T, L, G) on the simplex."""
        inner = torch.relu(rms_normed(hidden) @ self.inner.T)
        return torch.softmax(torch.einsum("tb,lgb->tlg", inner, self.outer), dim=-1)

    def read_final(self, hidden: Tensor, run: GateRun, *, first_pass: bool) -> None:
        """Keep the scalings of the pass to come: of every token after the first pass, of the next one after others."""
        run.memory[NOW] = self.scalings(hidden if first_pass else hidden[-1:])

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return (B, T, G). Tokens read together after the prompt, as when a given answer is scored, share the last
        scaling."""
        tokens = hidden.shape[1]
        return torch.stack([run.memory[NOW][:, layer].expand(tokens, -1) for run in runs])


@router(
    "xlora",
    title="X-LoRA: dense scalings",
    level="gate",
    paper="arXiv:2402.07148",
    trained_from="the experts' own training data, by answer loss",
)
class XLora(GateRouter):
    """Parameters are a two-layer network."""

    class Options(RouterOptions):
        """The size of the network."""

        bottleneck: int = Field(64, ge=1, le=4096, description="inner width", json_schema_extra=fitted())

    options: Options

    def build(self) -> Gate:
        """Return a gate that weighs all experts alike."""
        return ScalingGate(self.experts, self.layers, self.width, bottleneck=self.options.bottleneck)
