"""Read a text through the model in pieces, so that the tokens of other runs can come between two of them.

Also keeps what the model has read: keys and values of several rows in one padded cache, or what the library keeps of
one row of an architecture that has something else.

Shapes: B rows, S tokens so far (left-padded to the longest row), T tokens of a text, N bank experts, d width.
"""

from collections.abc import Callable, Generator, Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation.utils import ALL_CACHE_NAMES

from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, forward, give_first, needs_first_pass, plain_routing, routed


class KeyValues:
    """Hold the keys and values of rows that share one forward pass, and the mask (B, S) of what is a token.

    Every layer keeps all tokens, also a layer that sees only a window of them: the mask hides the others. Rows of
    different length can then join and leave.
    """

    def __init__(self, base: LanguageModel) -> None:
        self.base = base
        self.cache: Any = DynamicCache(config=base.model.config)
        self.cache.layers = [
            DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer for layer in self.cache.layers
        ]
        self.mask = torch.ones(1, 0, dtype=torch.long, device=base.model.device)

    def before(self, ids: Sequence[Sequence[int]], count: int) -> tuple[Tensor, dict[str, Any]]:
        """Return the last `count` of each row's `ids` as (B, count), and the arguments of a pass that reads them."""
        rows = len(ids)
        self.mask = torch.cat([self.mask, self.mask.new_ones(rows, count)], dim=1)
        arguments: dict[str, Any] = {"past_key_values": self.cache, "use_cache": True}
        if rows > 1:
            positions = (self.mask.cumsum(1) - 1)[:, -count:]
            arguments |= self.base.taken(attention_mask=self.mask, position_ids=positions)
        return torch.tensor([row[-count:] for row in ids], device=self.mask.device), arguments

    def after(self, output: Any) -> None:
        """Take what a pass gave. The cache was changed in place."""

    @property
    def pads(self) -> list[int]:
        """Return how many places before each row are empty."""
        return [int(count) for count in self.mask.shape[1] - self.mask.sum(1)]

    def undo(self, length: int) -> None:
        """Forget what a pass that broke has added after `length` places."""
        self.mask = self.mask[:, :length]
        for layer in self._layers():
            if layer.keys.shape[-2] > length:
                layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the rows with these indices, and drop the places that are empty in all of them."""
        kept = list(rows)
        mask = self.mask[kept]
        slack = int((mask.sum(0) == 0).long().cumprod(0).sum())
        self._replace([(old.keys[kept][:, :, slack:], old.values[kept][:, :, slack:]) for old in self._layers()])
        self.mask = mask[:, slack:]

    def copy_of(self, row: int) -> "KeyValues":
        """Return a cache that holds one row of this one."""
        made = KeyValues(self.base)
        start = self.pads[row]
        made.mask = self.mask[row : row + 1, start:]
        for mine, theirs in zip(self.cache.layers, made.cache.layers, strict=True):
            if getattr(mine, "is_initialized", False):
                theirs.update(mine.keys[row : row + 1, :, start:], mine.values[row : row + 1, :, start:])
        return made

    def merge(self, other: "KeyValues") -> None:
        """Add the rows of `other`. Pad the shorter one on the left."""
        old, new = self.mask.shape[1], other.mask.shape[1]
        length = max(old, new)
        mask = torch.cat([_pad(self.mask, length - old, 1), _pad(other.mask, length - new, 1)])
        made = []
        for mine, theirs in zip(self._layers(), other._layers(), strict=True):
            keys = torch.cat([_pad(mine.keys, length - old, 2), _pad(theirs.keys, length - new, 2)])
            values = torch.cat([_pad(mine.values, length - old, 2), _pad(theirs.values, length - new, 2)])
            made.append((keys, values))
        self._replace(made)
        self.mask = mask

    def _replace(self, made: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take new keys and values of every layer. All are there before the first is taken: nothing is half done."""
        for layer, (keys, values) in zip(self._layers(), made, strict=True):
            layer.keys, layer.values = keys, values

    def _layers(self) -> list[Any]:
        """Return the layers that hold something. Layers that share the keys of others hold nothing."""
        return [layer for layer in self.cache.layers if getattr(layer, "is_initialized", False)]


class LibraryState:
    """Hold what the library's `generate` keeps of one row, whatever it is: the states of Mamba, RWKV and hybrids."""

    def __init__(self, base: LanguageModel) -> None:
        self.base = base
        self.kept: dict[str, Any] = {}

    def before(self, ids: Sequence[Sequence[int]], count: int) -> tuple[Tensor, dict[str, Any]]:
        """Return the last `count` of the row's `ids` as (1, count), and the arguments of a pass that reads them."""
        whole = torch.tensor([list(row) for row in ids], device=self.base.model.device)
        is_first = not self.kept
        arguments = self.base.model.prepare_inputs_for_generation(
            whole,
            next_sequence_length=None if is_first else count,
            attention_mask=torch.ones_like(whole),
            is_first_iteration=is_first,
            use_cache=True,
            **self.base.taken(position_ids=torch.arange(whole.shape[1], device=whole.device)[None]),
            **self.kept,
        )
        return arguments.pop("input_ids"), arguments

    def after(self, output: Any) -> None:
        """Take the state that a pass gave."""
        self.kept = {name: output[name] for name in ALL_CACHE_NAMES if name in output and output[name] is not None}

    @property
    def pads(self) -> list[int]:
        """Return how many places before the row are empty: none."""
        return [0]


State = KeyValues | LibraryState


def new_state(base: LanguageModel) -> State:
    """Return the empty state of one row."""
    return KeyValues(base) if base.support.batches else LibraryState(base)


def piece_of(base: LanguageModel, row: RowRouting, tokens: int) -> int:
    """Return how many of a text's `tokens` are read at once for this row."""
    is_whole = row.gate is not None and row.gate.reads_whole_prompt
    return tokens if is_whole else base.support.piece or tokens


def read(
    state: State,
    row: RowRouting,
    bank: Sized,
    ids: Sequence[int],
    *,
    make: Callable[[int], Routing],
    take: Callable[[int, Routing, Any], None],
    logits: Callable[[int, int], int] = lambda start, end: 1,
) -> Generator[int]:
    """Read `ids` (T,) into the empty `state` of one row. Yield the tokens that are left between two pieces.

    The experts of `bank` may grow between two pieces. `make(start)` returns the routing of the piece that begins at
    `start`. `take(start, routing, output)` is given what the pass over it gave.
    `logits(start, end)` says of how many of the piece's last tokens the output needs logits, at least one.
    """
    base = state.base
    piece = piece_of(base, row, len(ids))
    if needs_first_pass(row):
        yield from _read_plain(base, row, bank, ids, piece)
    for start in range(0, len(ids), piece):
        end = min(start + piece, len(ids))
        inputs, arguments = state.before([ids[:end]], end - start)
        arguments |= base.taken(logits_to_keep=logits(start, end))
        routing = make(start)
        output = forward(base.model, routing, inputs, **arguments)
        state.after(output)
        take(start, routing, output)
        if end < len(ids):
            yield len(ids) - end


def _read_plain(base: LanguageModel, row: RowRouting, bank: Sized, ids: Sequence[int], piece: int) -> Generator[int]:
    """Give the row's gate the plain base's final hidden states (T, d) of `ids`, read in pieces."""
    state, found = new_state(base), []
    for start in range(0, len(ids), piece):
        end = min(start + piece, len(ids))
        inputs, arguments = state.before([ids[:end]], end - start)
        with routed(plain_routing(1, len(bank), inputs.device)):
            output = base.model.get_decoder()(input_ids=inputs, **arguments)
        state.after(output)
        found.append(output.last_hidden_state[0])
        yield 2 * len(ids) - end
    give_first(row, torch.cat(found))


def _pad(values: Tensor, count: int, axis: int) -> Tensor:
    """Return `values` with `count` zeros before its entries along `axis`."""
    if count == 0:
        return values
    shape = list(values.shape)
    shape[axis] = count
    return torch.cat([values.new_zeros(shape), values], dim=axis)
