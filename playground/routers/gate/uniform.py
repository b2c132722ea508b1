"""The reference every gate is held against: all experts at the same weight, at every token and layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.routers.base import Gate, GateRouter, GateRun, router


class EvenGate(Gate):
    """The same weight for every expert."""

    def __init__(self, experts: Sequence[str]) -> None:
        super().__init__()
        self.experts = tuple(experts)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return (B, T, G), all 1 / G."""
        size = len(self.experts)
        return torch.full((*hidden.shape[:2], size), 1.0 / size, device=hidden.device)


@router("uniform", title="Even mix", level="gate", paper=None, trained_from="nothing: a reference")
class Uniform(GateRouter):
    """Has no parameters; takes in whatever experts are installed."""

    needs_training = False

    def build(self) -> Gate:
        """Return the even gate."""
        return EvenGate(self.experts)
