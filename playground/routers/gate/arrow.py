"""Arrow: each adapter's main input direction is its gate. Nothing is trained, and a new adapter takes part at once.

Source: arXiv:2405.11157. In each layer the direction of an expert is the first right singular vector of its B A. A
token's score is how strongly it points along that direction, whatever the sign. The base has no direction, so it gets
no weight.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from playground.routers.base import Gate, GateRouter, GateRun, Installed, RouterOptions, router
from playground.routers.parts import SoftmaxGate, rms_normed


class ArrowGate(SoftmaxGate):
    """A gate over `directions` (L, G, d) of unit length. An expert that lacks one in a layer gets no weight there.

    In a layer where every expert lacks one, all get the same weight.
    """

    directions: Tensor
    penalty: Tensor

    def __init__(self, experts: Sequence[str], directions: Tensor, *, top_k: int, temperature: float) -> None:
        super().__init__(experts, top_k=top_k)
        self.temperature = temperature
        self.register_buffer("directions", directions, persistent=False)
        absent = ~directions.any(-1)
        absent[absent.all(-1)] = False
        self.register_buffer("penalty", torch.where(absent, -torch.inf, 0.0).float(), persistent=False)

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return scores (B, T, G): |v · u| over the temperature."""
        found = (rms_normed(hidden) @ self.directions[layer].T).abs() / self.temperature
        return found + self.penalty[layer]


@router(
    "arrow",
    title="Arrow: adapter directions",
    level="gate",
    paper="arXiv:2405.11157",
    trained_from="nothing: the adapters themselves",
)
class Arrow(GateRouter):
    """The router of `ArrowGate`. It has no parameters, because the gate is made from the installed adapters."""

    needs_training = False

    class Options(RouterOptions):
        """How sharply the gate chooses."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")
        temperature: float = Field(1.0, gt=0.05, le=10, description="softmax temperature; higher blends more evenly")

    options: Options

    def build(self) -> Gate:
        """Return a gate without directions. It gives all experts the same weight."""
        nowhere = torch.zeros(self.layers, len(self.experts), self.width)
        return ArrowGate(self.experts, nowhere, top_k=self.options.top_k, temperature=self.options.temperature)

    def gate_for(self, installed: Installed) -> Gate:
        """Return the gate over all installed experts."""
        return ArrowGate(
            installed.names,
            installed.directions(),
            top_k=self.options.top_k,
            temperature=self.options.temperature,
        )
