"""What one forward call needs to route: weights per row, token and layer, and what to observe. Nothing of it is shared.

A library forward gives its linear modules no extra argument, so the `Routing` of a call travels in one ContextVar, set
in one `with` here. Two threads never see each other's.

Shapes: B rows, T tokens of this call, S tokens so far, N experts of the bank (base first), L layers, H heads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from playground.routers.base import Gate


@dataclass(frozen=True, eq=False)
class RowRouting:
    """How one row is routed: by constant weights (N,) over the bank, or by a gate masked to the run's pool.

    `mask` (N,) float marks the bank experts of the pool; `columns` (G,) places the gate's experts in the bank.
    """

    constant: Tensor | None = None
    gate: Gate | None = None
    mask: Tensor | None = None
    columns: Tensor | None = None


@dataclass(eq=False)
class Routing:
    """The routing of one forward call. `size` is N.

    Filled during the call: `by_layer` holds weights (B, T, N) of each layer, or of all at once under key -1 when they
    are constant; `attention` holds the observed rows, {row: (S,)} or {layer: (B, H, T, S)} when `whole_layer` is set.
    """

    rows: Sequence[RowRouting]
    size: int
    observed: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    whole_layer: int = -1
    by_layer: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    stash: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = field(default_factory=dict)
    _expanded: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_constant = all(row.gate is None for row in self.rows)
        if self.is_constant:
            self.by_layer[-1] = torch.stack([self._constant(row) for row in self.rows]).unsqueeze(1)
        self.is_base_only = self.is_constant and not bool(self.by_layer[-1][..., 1:].any())

    @staticmethod
    def _constant(row: RowRouting) -> Tensor:
        if row.constant is None:
            raise ValueError("a row without a gate needs constant weights")
        return row.constant

    def decide(self, layer: int, hidden: Tensor) -> Tensor:
        """Weights (B, T, N) of `layer` from its normed input (B, T, d); decided once, then kept for the whole layer."""
        if self.is_constant:
            return self.by_layer[-1]
        if layer in self.by_layer:
            return self.by_layer[layer]
        groups: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            groups.setdefault(id(row.gate), []).append(index)
        if len(groups) == 1 and len({id(row.mask) for row in self.rows}) == 1:
            weights = gate_weights(self.rows[0], layer, hidden, self.size)
        else:
            weights = hidden.new_empty(hidden.shape[0], hidden.shape[1], self.size, dtype=torch.float32)
            for index, row in enumerate(self.rows):
                if row.gate is None:
                    weights[index] = self._constant(row)
                else:
                    weights[index] = gate_weights(row, layer, hidden[index : index + 1], self.size)[0]
        self.by_layer[layer] = weights
        return weights

    def stacked(self, layers: int) -> Tensor | None:
        """Weights of all layers, (B, T, L, N) float32; None when they are constant."""
        if self.is_constant:
            return None
        return torch.stack([self.by_layer[layer] for layer in range(layers)], dim=2)


def gate_weights(row: RowRouting, layer: int, hidden: Tensor, size: int) -> Tensor:
    """Weights (B, T, N) over the bank of `row`'s gate, masked to the pool and renormalised."""
    if row.gate is None:
        raise ValueError("the row has no gate")
    weights = row.gate.weights(layer, hidden)
    if row.columns is not None:
        spread = weights.new_zeros(*weights.shape[:-1], size)
        weights = spread.index_copy(-1, row.columns, weights)
    if row.mask is not None:
        weights = weights * row.mask
        total = weights.sum(-1, keepdim=True)
        even = row.mask / row.mask.sum()
        weights = torch.where(total > 1e-9, weights / total.clamp_min(1e-9), even)
    return weights


_CURRENT: ContextVar[Routing | None] = ContextVar("routing", default=None)


def current_routing() -> Routing | None:
    """The routing of the forward call under way in this thread; None outside of one."""
    return _CURRENT.get()


@contextmanager
def routed(routing: Routing) -> Iterator[Routing]:
    """Give `routing` to the forward calls inside the `with`, in this thread only."""
    token = _CURRENT.set(routing)
    try:
        yield routing
    finally:
        _CURRENT.reset(token)
