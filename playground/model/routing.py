"""Carry what one forward call needs to route: weights for each row, token and layer, and what to observe.

A library forward gives its linear modules no extra argument. The `Routing` of a call therefore travels in one
ContextVar, set in one `with` here. Two threads never see each other's routing.

Shapes: B rows, T tokens of this call, S tokens so far, N experts of the bank (base first), L layers, H heads.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from playground.routers.base import Gate, GateRun


@dataclass(frozen=True, eq=False)
class RowRouting:
    """Say how one row is routed: by constant weights (N,) over the bank, or by a gate masked to the run's pool.

    `run` is the state that the gate keeps for this run. `mask` (N,) float marks the bank experts of the pool.
    `columns` (G,) gives the places of the gate's experts in the bank.
    """

    constant: Tensor | None = None
    gate: Gate | None = None
    run: GateRun | None = None
    mask: Tensor | None = None
    columns: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Group:
    """Hold the rows of one gate. `rows` is None when they are all rows of the call. `mask` is (b, 1, N) or None."""

    gate: Gate
    rows: Tensor | None
    runs: list[GateRun]
    columns: Tensor | None
    mask: Tensor | None


@dataclass(eq=False)
class Routing:
    """Hold the routing of one forward call. `size` is N.

    Rows made when the bank held fewer experts give the later ones no weight.

    The call fills some fields. `by_layer` holds the weights (B, T, N) of each layer; constant weights stand once,
    under key -1. `attention` holds the observed rows, {row: (S,)}. `on_attention` is given
    (layer, first, attention (B, H, Q, S)) of each layer in `layers_read` (None is all) as it is computed: that of Q
    tokens from `first` of this call on. An exception from it ends the call. `turn` is the sine of this call's
    positions as `model/quick.py` needs it.
    """

    rows: Sequence[RowRouting]
    size: int
    observed: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    on_attention: Callable[[int, int, Tensor], None] | None = None
    layers_read: Collection[int] | None = None
    by_layer: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    stash: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = field(default_factory=dict)
    turn: Tensor | None = None

    def __post_init__(self) -> None:
        self.is_constant = all(row.gate is None for row in self.rows)
        if self.is_constant:
            constants = [_widened(self._constant(row), self.size) for row in self.rows]
            self.by_layer[-1] = torch.stack(constants).unsqueeze(1)
        self.is_base_only = self.is_constant and not bool(self.by_layer[-1][..., 1:].any())
        self._groups = [] if self.is_constant else self._grouped()

    def reads(self, layer: int) -> bool:
        """Return whether the attention of `layer` is asked for, whole or in a row."""
        if layer in self.observed:
            return True
        return self.on_attention is not None and (self.layers_read is None or layer in self.layers_read)

    @staticmethod
    def _constant(row: RowRouting) -> Tensor:
        if row.constant is None:
            raise ValueError("a row without a gate needs constant weights")
        return row.constant

    def _grouped(self) -> list[_Group]:
        members: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            if row.gate is not None:
                members.setdefault(id(row.gate), []).append(index)
        groups = []
        for indices in members.values():
            rows = [self.rows[i] for i in indices]
            gate, runs = rows[0].gate, [row.run for row in rows if row.run is not None]
            if gate is None or len(runs) != len(rows):
                raise ValueError("a row with a gate needs the gate's state of its run")
            masks = [torch.ones(self.size) if row.mask is None else _widened(row.mask, self.size) for row in rows]
            mask = None if all(row.mask is None for row in rows) else torch.stack(masks).unsqueeze(1)
            chosen = None if len(indices) == len(self.rows) else torch.tensor(indices)
            groups.append(_Group(gate, chosen, runs, rows[0].columns, mask))
        return groups

    def decide(self, layer: int, hidden: Tensor) -> Tensor:
        """Return weights (B, T or 1, N) of `layer` from its normed input (B, T, d), decided once for a layer."""
        if self.is_constant:
            return self.by_layer[-1]
        if layer in self.by_layer:
            return self.by_layer[layer]
        if self._groups[0].rows is None:
            weights = _group_weights(self._groups[0], layer, hidden, self.size)
        else:
            weights = hidden.new_zeros(hidden.shape[0], hidden.shape[1], self.size, dtype=torch.float32)
            for index, row in enumerate(self.rows):
                if row.constant is not None:
                    weights[index] = _widened(row.constant, self.size)
            for group in self._groups:
                made = _group_weights(group, layer, hidden[group.rows], self.size)
                weights = weights.index_copy(0, group.rows.to(hidden.device), made) if group.rows is not None else made
        self.by_layer[layer] = weights
        return weights

    def stacked(self, layers: int) -> Tensor | None:
        """Return the weights of all layers, (B, T, L, N) float32, or None when they are constant."""
        if self.is_constant:
            return None
        return torch.stack([self.by_layer[layer] for layer in range(layers)], dim=2)


def _group_weights(group: _Group, layer: int, hidden: Tensor, size: int) -> Tensor:
    """Return weights (b, T, N) over the bank for the rows of a gate, masked to their pools and renormalised."""
    weights = group.gate.weights(layer, hidden, group.runs)
    if group.columns is None:
        weights = _widened(weights, size)
    else:
        spread = weights.new_zeros(*weights.shape[:-1], size)
        weights = spread.index_copy(-1, group.columns, weights)
    if group.mask is not None:
        weights = weights * group.mask
        total = weights.sum(-1, keepdim=True)
        even = group.mask / group.mask.sum(-1, keepdim=True)
        weights = torch.where(total > 1e-9, weights / total.clamp_min(1e-9), even)
    return weights


def _widened(weights: Tensor, size: int) -> Tensor:
    """Return (..., size) for (..., n): experts that came later get 0. The bank only ever grows at its end."""
    missing = size - weights.shape[-1]
    return functional.pad(weights, (0, missing)) if missing > 0 else weights


def gate_routing(
    gate: Gate,
    names: Sequence[str],
    *,
    prompt_tokens: int,
    embedding: Tensor | None = None,
    pool: Collection[str] | None = None,
    device: torch.device | str = "cpu",
) -> RowRouting:
    """Return a new run of `gate` over the bank's experts `names`, masked to those in `pool` when it is given.

    Raise ValueError when the gate needs an expert that the bank does not have.
    """
    columns = None
    if tuple(gate.experts) != tuple(names):
        columns = torch.tensor([names.index(name) for name in gate.experts], device=device)
    mask = None
    if pool is not None and not set(gate.experts) <= set(pool):
        mask = torch.tensor([float(name in pool) for name in names], device=device)
    return RowRouting(gate=gate, run=gate.open(prompt_tokens, embedding), mask=mask, columns=columns)


def forward(model: Any, routing: Routing, ids: Tensor, **arguments: Any) -> Any:
    """Run one pass of the library's `model` over `ids` (B, T) under `routing`. The gates' runs move on by T tokens.

    Gates that look at final hidden states are given those of each pass, for the next one. `arguments` go to the model.
    """
    read_first(model, routing, ids)
    readers = [(i, row) for i, row in enumerate(routing.rows) if row.gate is not None and row.gate.reads_final]
    if readers:
        arguments["output_hidden_states"] = True
    with routed(routing):
        output = model(input_ids=ids, **arguments)
    for index, row in readers:
        _give_final(row, output.hidden_states[-1][index], first_pass=False)
    for row in routing.rows:
        if row.run is not None:
            row.run.read += ids.shape[1]
    return output


def needs_first_pass(row: RowRouting) -> bool:
    """Return whether the row's gate must first see the plain base's final hidden states of the prompt."""
    fresh = row.run is not None and row.run.read == 0 and not row.run.saw_plain
    return fresh and row.gate is not None and row.gate.reads_final


def read_first(model: Any, routing: Routing, ids: Tensor) -> None:
    """Give the final hidden states of the plain base over a prompt to gates that ask for them (X-LoRA's first pass)."""
    fresh = [(index, row) for index, row in enumerate(routing.rows) if needs_first_pass(row)]
    if not fresh:
        return
    with torch.no_grad(), routed(plain_routing(len(fresh), routing.size, ids.device)):
        hidden = model.get_decoder()(input_ids=ids[[i for i, _ in fresh]], use_cache=False).last_hidden_state
    for place, (_, row) in enumerate(fresh):
        give_first(row, hidden[place])


def plain_routing(rows: int, size: int, device: torch.device | str) -> Routing:
    """Return the routing of `rows` rows through the plain base, in a bank of `size` experts."""
    plain = torch.zeros(size, device=device)
    plain[0] = 1.0
    return Routing([RowRouting(constant=plain)] * rows, size)


def give_first(row: RowRouting, hidden: Tensor) -> None:
    """Give the plain base's final hidden states (T, d) of the whole prompt to the row's gate."""
    _give_final(row, hidden, first_pass=True)
    if row.run is not None:
        row.run.saw_plain = True


def _give_final(row: RowRouting, hidden: Tensor, *, first_pass: bool) -> None:
    if row.gate is not None and row.run is not None:
        row.gate.read_final(hidden, row.run, first_pass=first_pass)


_CURRENT: ContextVar[Routing | None] = ContextVar("routing", default=None)


def current_routing() -> Routing | None:
    """Return the routing of the forward call under way in this thread. Return None outside of one."""
    return _CURRENT.get()


@contextmanager
def routed(routing: Routing) -> Iterator[Routing]:
    """Give `routing` to the forward calls inside the `with`, in this thread only."""
    token = _CURRENT.set(routing)
    try:
        yield routing
    finally:
        _CURRENT.reset(token)
