"""Decode rows in one batch. Rows join and leave at any token, each with its own routing, sampling and stop.

This module knows nothing of prompts as text, routers or events. One thread owns a `Batch`; see `worker.py`.

Shapes: B rows, S tokens so far (left-padded to the longest row), V vocabulary, N bank experts, L layers.
"""

import logging
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from playground.core.values import Observe
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.reading import KeyValues, State, new_state, read
from playground.model.routing import Routing, RowRouting, forward
from playground.model.sampling import Drawn, Sampler

log = logging.getLogger(__name__)


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


@dataclass(eq=False)
class Group:
    """Hold rows that share one forward pass, and what the model has read of them."""

    rows: list[Row]
    state: State


@dataclass(frozen=True, eq=False)
class Joining:
    """Hold a row whose prompt was read: what the pass showed, and its first token."""

    group: Group
    seen: Seen
    step: Step


class Batch:
    """Hold rows that decode together.

    `read` reads the prompt of a row alone and draws its first token; `admit` adds the row. Every row in the batch
    therefore has one token that the model has not read. `step` or `advance` reads these tokens and draws the next.

    Rows share one forward pass where the base allows it. A row that breaks is alone in that: the others go on.
    """

    def __init__(self, base: LanguageModel, bank: Bank) -> None:
        self.base = base
        self.bank = bank
        self.rows: list[Row] = []
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return len(self.rows)

    def join(self, row: Row) -> tuple[Seen, Step]:
        """Read the prompt of `row` at one go and add the row. Return what the pass showed, and the first token."""
        reading = self.read(row)
        while True:
            try:
                next(reading)
            except StopIteration as ended:
                self.admit(ended.value)
                return ended.value.seen, ended.value.step

    @torch.inference_mode()
    def read(self, row: Row) -> Generator[int, None, Joining]:
        """Read the prompt of `row`, and draw its first token. The batch does not change.

        Yield the tokens that are left, between two pieces of a long prompt. Return the row as it can be admitted.
        """
        state = new_state(self.base)
        pieces: list[Seen] = []
        logits: list[Tensor] = []

        def take(_start: int, routing: Routing, output: Any) -> None:
            pieces.extend(self._shown(routing, [row], pads=[0]))
            logits[:] = [output.logits[0, -1]]

        yield from read(state, row.routing, self.bank, row.ids, make=lambda _: self._routing([row]), take=take)
        seen = _joined(pieces)
        return Joining(Group([row], state), seen, _draw(row, logits[0], seen))

    @torch.inference_mode()
    def admit(self, joining: Joining) -> None:
        """Add a row whose prompt was read."""
        group = joining.group
        last = self._groups[-1] if self._groups else None
        if last is not None and isinstance(last.state, KeyValues) and isinstance(group.state, KeyValues):
            last.state.merge(group.state)
            last.rows += group.rows
        else:
            self._groups.append(group)
        self.rows += group.rows

    @torch.inference_mode()
    def leave(self, row: Row) -> None:
        """Take `row` out of the batch."""
        for group in self._groups:
            if row in group.rows and len(group.rows) > 1 and isinstance(group.state, KeyValues):
                group.state.keep([i for i, other in enumerate(group.rows) if other is not row])
            group.rows = [other for other in group.rows if other is not row]
        self._groups = [group for group in self._groups if group.rows]
        self.rows.remove(row)

    def step(self) -> list[Step]:
        """Do what `advance` does. Raise what broke a row."""
        made = []
        for step in self.advance():
            if isinstance(step, Exception):
                raise step
            made.append(step)
        return made

    @torch.inference_mode()
    def advance(self) -> list[Step | Exception]:
        """Read the newest token of every row and draw the next.

        Return one step for each row, in row order, or what broke it. A row that broke must leave.
        """
        if not self.rows:
            raise RuntimeError("the batch is empty")
        made: dict[Row, Step | Exception] = {}
        for group in list(self._groups):
            try:
                made |= self._pass(group)
            except Exception as error:
                log.exception("a pass broke rows=%s", len(group.rows))
                if len(group.rows) == 1:
                    made[group.rows[0]] = error
                else:
                    made |= self._pass_alone(group)
        return [made[row] for row in self.rows]

    def _pass(self, group: Group) -> dict[Row, Step | Exception]:
        """Return the steps of the rows of `group`, from one pass. When it breaks, all is as it was before."""
        state, rows = group.state, group.rows
        length = state.mask.shape[1] if isinstance(state, KeyValues) else 0
        runs = [row.routing.run for row in rows if row.routing.run is not None]
        before = [(run.read, dict(run.memory)) for run in runs]
        try:
            ids, arguments = state.before([row.ids for row in rows], 1)
            routing = self._routing(rows)
            output = forward(self.base.model, routing, ids, **arguments)
            state.after(output)
            shown = self._shown(routing, rows, state.pads)
        except Exception:
            if isinstance(state, KeyValues):
                state.undo(length)
            for run, (read_before, memory) in zip(runs, before, strict=True):
                run.read, run.memory = read_before, memory
            raise
        return {row: _drawn(row, output.logits[i, -1], shown[i]) for i, row in enumerate(rows)}

    def _pass_alone(self, group: Group) -> dict[Row, Step | Exception]:
        """Return the steps of the rows of a group whose pass broke, from a pass each. The sound ones stay a group."""
        made: dict[Row, Step | Exception] = {}
        sound: list[Group] = []
        for index, row in enumerate(group.rows):
            single = Group([row], group.state.copy_of(index) if isinstance(group.state, KeyValues) else group.state)
            try:
                made |= self._pass(single)
            except Exception as error:
                log.exception("a row broke")
                made[row] = error
            else:
                sound.append(single)
        self._groups.remove(group)
        for single in sound:
            if single is not sound[0] and isinstance(sound[0].state, KeyValues):
                sound[0].state.merge(single.state)  # type: ignore[arg-type]
                sound[0].rows += single.rows
        self._groups += sound[:1]
        return made

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


def _joined(pieces: Sequence[Seen]) -> Seen:
    """Return what the passes over the pieces of one prompt showed, as one."""
    last = pieces[-1]
    if len(pieces) == 1 or last.layer_weights is None:
        return last
    layered = np.concatenate([piece.layer_weights for piece in pieces if piece.layer_weights is not None])
    return Seen(layered, last.constant, last.attention)


def _drawn(row: Row, logits: Tensor, seen: Seen) -> Step | Exception:
    """Return the next token of `row`, or what broke the draw."""
    try:
        return _draw(row, logits, seen)
    except Exception as error:  # noqa: BLE001  told to the owner of the row, who ends its run
        return error


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
