"""X-LoRA: a small network reads the final hidden state and gives the weights of all experts in every layer.

Source: arXiv:2402.07148. The paper reads each text twice: a first pass without adapters gives the hidden states, and a
second pass uses the weights made from them. Here only the prompt is read twice. Each later token uses the final state
of the token before it, so it takes one pass.
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
    """A gate of two maps, `inner` (b, d), ReLU and `outer` (L, G, b), with a softmax over the experts of each layer."""

    reads_final = True

    def __init__(self, experts: Sequence[str], layers: int, width: int, *, bottleneck: int) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.inner = nn.Parameter(torch.randn(bottleneck, width) / width**0.5)
        self.outer = nn.Parameter(torch.zeros(layers, len(self.experts), bottleneck))

    def scalings(self, hidden: Tensor) -> Tensor:
        """Return the weights (T, L, G) of all layers for final hidden states (T, d)."""
        inner = torch.relu(rms_normed(hidden) @ self.inner.T)
        return torch.softmax(torch.einsum("tb,lgb->tlg", inner, self.outer), dim=-1)

    def read_final(self, hidden: Tensor, run: GateRun, *, first_pass: bool) -> None:
        """Keep the weights for the passes to come.

        After the first pass these are the weights of every prompt token, else those of the next token.
        """
        known = run.memory.get(NOW)
        if not first_pass and known is not None and len(known) > run.read + len(hidden):
            return  # the prompt is read in pieces, and the first pass gave the weights of all of it
        run.memory[NOW] = self.scalings(hidden if first_pass else hidden[-1:])

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) of `layer`.

        Several tokens may be read at once after the prompt, when a given answer is scored. They share the last weights.
        """
        tokens = hidden.shape[1]
        rows = []
        for run in runs:
            known = run.memory[NOW][:, layer]
            rows.append(known[run.read : run.read + tokens] if len(known) > 1 else known.expand(tokens, -1))
        return torch.stack(rows)


@router(
    "xlora",
    title="X-LoRA: dense scalings",
    level="gate",
    paper="arXiv:2402.07148",
    trained_from="the experts' own training data, by answer loss",
)
class XLora(GateRouter):
    """The router of `ScalingGate`. Its parameters are a two-layer network."""

    class Options(RouterOptions):
        """The size of the network."""

        bottleneck: int = Field(64, ge=1, le=4096, description="inner width of the network", json_schema_extra=fitted())

    options: Options

    def build(self) -> Gate:
        """Return a gate that weighs all experts alike."""
        return ScalingGate(self.experts, self.layers, self.width, bottleneck=self.options.bottleneck)
