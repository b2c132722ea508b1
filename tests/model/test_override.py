"""Weights held by hand in some layers: what holds there, and that the gate inside misses nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.model.override import hold_layers
from playground.model.routing import RowRouting
from playground.routers.base import Gate, GateRun


class Remembering(Gate):
    """Decides in layer 1 for the layers after it, as a gate in the middle of a model does."""

    experts = ("base", "alpha")

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        if layer == 1:
            runs[0].memory["now"] = torch.tensor([0.25, 0.75])
        share = torch.tensor([1.0, 0.0]) if layer < 1 else runs[0].memory["now"]
        return share.expand(*hidden.shape[:2], 2)


def test_a_gate_sees_the_layers_in_which_weights_are_held() -> None:
    inner = RowRouting(gate=Remembering(), run=GateRun(prompt_tokens=3))
    held = hold_layers(inner, torch.tensor([0.0, 1.0]), [0, 1], Remembering.experts)
    assert held.gate is not None
    found = [held.gate.weights(layer, torch.zeros(1, 3, 4), [inner.run])[0, 0].tolist() for layer in range(3)]
    assert found == [[0, 1], [0, 1], [0.25, 0.75]]
