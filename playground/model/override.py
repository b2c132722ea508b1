"""Hold weights set by hand in some layers, while the run's own routing decides in the others."""

from collections.abc import Collection, Sequence

from torch import Tensor

from playground.model.routing import Routing, RowRouting
from playground.routers.base import Gate, GateRun


class HeldLayers(Gate):
    """Return `weights` (N,) in `layers`, and what `inner` returns in the others.

    A gate of this kind belongs to one run, like the state in it.
    """

    def __init__(self, inner: RowRouting, weights: Tensor, layers: Collection[int], names: Sequence[str]) -> None:
        super().__init__()
        self.inner = inner
        self.layers = frozenset(layers)
        self.experts = tuple(names)
        self.reads_final = inner.gate is not None and inner.gate.reads_final  # type: ignore[misc]
        self.reads_whole_prompt = inner.gate is not None and inner.gate.reads_whole_prompt  # type: ignore[misc]
        self.register_buffer("held", weights, persistent=False)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (1, T, N) of `layer`. `hidden` has one row, because the gate belongs to one run."""
        held = self.get_buffer("held")
        decided = Routing([self.inner], len(held)).decide(layer, hidden)  # a gate may need to see every layer in order
        if layer not in self.layers:
            held = decided
        return held.expand(hidden.shape[0], hidden.shape[1], -1)

    def read_final(self, hidden: Tensor, run: GateRun, *, first_pass: bool) -> None:
        """Hand the final hidden states to the gate inside, if there is one that asks."""
        if self.inner.gate is not None:
            self.inner.gate.read_final(hidden, run, first_pass=first_pass)


def hold_layers(inner: RowRouting, weights: Tensor, layers: Collection[int], names: Sequence[str]) -> RowRouting:
    """Return `inner` with `weights` (N,) over the bank's experts `names` held in `layers`."""
    run = inner.run if inner.run is not None else GateRun(prompt_tokens=0)
    return RowRouting(gate=HeldLayers(inner, weights, layers, names), run=run)
