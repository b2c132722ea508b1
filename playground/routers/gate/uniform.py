"""The even mix, to which every gate is compared: all experts have the same weight, at every token and layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.routers.base import Gate, GateRouter, GateRun, router


class EvenGate(Gate):
    """A gate that gives every expert the same weight."""

    def __init__(self, experts: Sequence[str]) -> None:
        super().__init__()
        self.experts = tuple(experts)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G), all 1 / G."""
        size = len(self.experts)
        return torch.full((*hidden.shape[:2], size), 1.0 / size, device=hidden.device)


@router("uniform", title="Even mix", level="gate", paper=None, trained_from="nothing: a reference")
class Uniform(GateRouter):
    """The router of `EvenGate`. It has no parameters, and uses all installed experts."""

    needs_training = False

    def build(self) -> Gate:
        """Return the even gate."""
        return EvenGate(self.experts)
