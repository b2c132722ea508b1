"""Decode rows in one batch. Rows join and leave at any token, each with its own routing, sampling and stop.

This module knows nothing of prompts as text, routers or events. One thread owns a `Batch`; see `worker.py`.

Shapes: B rows, S tokens so far (left-padded to the longest row), V vocabulary, N bank experts, L layers.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from playground.core.values import Observe
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, forward
from playground.model.sampling import Drawn, Sampler


@dataclass(eq=False)
class Row:
    """Hold one run that is being decoded. `forced` tokens are written as they are, before the model goes on by itself.

    `ids` grows by each drawn token. The last one is drawn, but the model has not read it yet.
    """

    ids: list[int]
    routing: RowRouting
    sampler: Sampler
    observe: Observe | None = None
    forced: deque[int] = field(default_factory=deque)


@dataclass(frozen=True, eq=False)
class Step:
    """Hold what the forward pass of one token of one row gave.

    `weights` (N,) is over the bank, as a mean over layers. `layer_weights` (L, N) and `attention` (S,) may be None.
    """

    drawn: Drawn
    weights: np.ndarray
    layer_weights: np.ndarray | None
    attention: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Seen:
    """Hold what the last forward pass of a row showed: weights (T, L, N) or None, constant (N,) or None, attention
    (S,).
    """

    layer_weights: np.ndarray | None
    constant: np.ndarray | None
    attention: np.ndarray | None


class Batch:
    """Hold rows that decode together.

    `join` reads the prompt of a row alone and draws its first token. Every row in the batch therefore has one token
    that the model has not read. `step` reads these tokens and draws the next.
    """

    def __init__(self, base: LanguageModel, bank: Bank) -> None:
        self.base = base
        self.bank = bank
        self.rows: list[Row] = []
        self._cache: Any = None
        self._mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @torch.inference_mode()
    def join(self, row: Row) -> tuple[Seen, Step]:
        """Read the prompt of `row` and add it to the batch. Return what the pass showed, and the first token."""
        device = self.base.model.device
        ids = torch.tensor([row.ids], device=device)
        cache = DynamicCache(config=self.base.model.config)
        routing = self._routing([row])
        output = forward(self.base.model, routing, ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        [seen] = self._shown(routing, [row], pads=[0])
        mask = torch.ones(1, ids.shape[1], dtype=torch.long, device=device)
        if self._mask is None or not self.rows:
            self._cache, self._mask = cache, mask
        else:
            self._merge(cache, mask)
        self.rows.append(row)
        return seen, _draw(row, output.logits[0, -1], seen)

    def leave(self, row: Row) -> None:
        """Take `row` out of the batch."""
        index = self.rows.index(row)
        self.rows.pop(index)
        if not self.rows or self._mask is None:
            self._cache, self._mask = None, None
            return
        kept = [i for i in range(self._mask.shape[0]) if i != index]
        self._mask = self._mask[kept]
        slack = int((self._mask.sum(0) == 0).long().cumprod(0).sum())
        self._mask = self._mask[:, slack:]
        for layer in self._cache.layers:
            layer.keys = layer.keys[kept][:, :, slack:]
            layer.values = layer.values[kept][:, :, slack:]

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Read the newest token of every row and draw the next. Return one step for each row, in row order."""
        if self._mask is None:
            raise RuntimeError("the batch is empty")
        ids = torch.tensor([[row.ids[-1]] for row in self.rows], device=self._mask.device)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        routing = self._routing(self.rows)
        arguments: dict[str, Any] = {}
        pads = [0]
        if len(self.rows) > 1:
            lengths = self._mask.sum(1, keepdim=True)
            arguments = {"attention_mask": self._mask, "position_ids": lengths - 1}
            pads = (self._mask.shape[1] - lengths).flatten().tolist()
        output = forward(self.base.model, routing, ids, past_key_values=self._cache, use_cache=True, **arguments)
        shown = self._shown(routing, self.rows, pads)
        return [_draw(row, output.logits[i, -1], shown[i]) for i, row in enumerate(self.rows)]

    def _routing(self, rows: Sequence[Row]) -> Routing:
        observed: dict[int, list[tuple[int, int]]] = {}
        for index, row in enumerate(rows):
            if row.observe is not None:
                observed.setdefault(row.observe.layer, []).append((index, row.observe.head))
        return Routing([row.routing for row in rows], len(self.bank), observed)

    def _shown(self, routing: Routing, rows: Sequence[Row], pads: Sequence[int]) -> list[Seen]:
        stacked = routing.stacked(self.base.layers)
        layered = None if stacked is None else stacked.float().cpu().numpy()
        constant = routing.by_layer[-1][:, 0].float().cpu().numpy() if layered is None else None
        shown = []
        for index, row in enumerate(rows):
            attention = routing.attention.get(index)
            shown.append(
                Seen(
                    layer_weights=layered[index] if layered is not None and row.routing.gate is not None else None,
                    constant=self._constant(constant, index, row),
                    attention=None if attention is None else attention[pads[index] :].cpu().numpy(),
                )
            )
        return shown

    @staticmethod
    def _constant(constant: np.ndarray | None, index: int, row: Row) -> np.ndarray | None:
        if constant is not None:
            return np.asarray(constant[index])
        return None if row.routing.constant is None else row.routing.constant.float().cpu().numpy()

    def _merge(self, cache: Any, mask: Tensor) -> None:
        """Add the cache of a row to that of the batch. Pad the shorter one on the left."""
        if self._mask is None:
            raise RuntimeError("nothing to merge into")
        old, new = self._mask.shape[1], mask.shape[1]
        length = max(old, new)
        self._mask = torch.cat([_pad(self._mask, length - old, 1), _pad(mask, length - new, 1)])
        for mine, other in zip(self._cache.layers, cache.layers, strict=True):
            mine.keys = torch.cat([_pad(mine.keys, length - old, 2), _pad(other.keys, length - new, 2)])
            mine.values = torch.cat([_pad(mine.values, length - old, 2), _pad(other.values, length - new, 2)])


def _draw(row: Row, logits: Tensor, seen: Seen) -> Step:
    """Draw the next token of `row`. Return it with the weights and attention of the pass that produced it."""
    drawn = row.sampler.draw(logits, row.forced.popleft() if row.forced else None)
    row.ids.append(drawn.token_id)
    if seen.layer_weights is not None:
        last = seen.layer_weights[-1]
        return Step(drawn, last.mean(axis=0), last, seen.attention)
    if seen.constant is None:
        raise RuntimeError("a pass showed no weights")
    return Step(drawn, seen.constant, None, seen.attention)


def _pad(values: Tensor, count: int, axis: int) -> Tensor:
    """Return `values` with `count` zeros before its entries along `axis`."""
    if count == 0:
        return values
    shape = list(values.shape)
    shape[axis] = count
    return torch.cat([values.new_zeros(shape), values], dim=axis)
