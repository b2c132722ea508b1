"""What a router is: the contract of policies and gates, and the decorator that registers them.

A *policy* decides over the pool from the prompt, before decoding. A *gate* is a module inside the model that decides
for each token and layer. Both are listed as routers. A router holds parameters only; everything of one run lives in
the call.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
from pydantic import BaseModel
from torch import Tensor, nn

from playground.core.preferences import LabelledPair
from playground.core.registry import Registry
from playground.core.values import Context, Decision, Level


class RouterOptions(BaseModel):
    """A router's settings. Fields are drawn as controls on the page and as flags on the command line."""


@dataclass(frozen=True)
class RouterSpec:
    """What the page says of a router. `paper` is an arXiv id or None; `trained_from` is in words."""

    name: str
    title: str
    level: Level
    paper: str | None
    trained_from: str


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels ready for a fit. `embeddings` (N, d) float32, row i embeds the prompt of `pairs[i]`."""

    pairs: Sequence[LabelledPair]
    embeddings: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def usage_difference(self, experts: Sequence[str]) -> np.ndarray:
        """(N, E) float32: usage of A minus usage of B over `experts`; experts outside them are left out."""
        difference = np.zeros((len(self), len(experts)), np.float32)
        column = {name: i for i, name in enumerate(experts)}
        for row, pair in enumerate(self.pairs):
            for position, name in enumerate(pair.experts):
                if name in column:
                    difference[row, column[name]] += pair.usage_a[position] - pair.usage_b[position]
        return difference

    @property
    def targets(self) -> np.ndarray:
        """(N,) float32: probability that A beats B."""
        return np.array([pair.target for pair in self.pairs], np.float32)

    @property
    def weights(self) -> np.ndarray:
        """(N,) float32 sample weights."""
        return np.array([pair.weight for pair in self.pairs], np.float32)


class Router(ABC):
    """Common to all levels. `experts` is the order its parameters are over; a run may use any part of them."""

    spec: ClassVar[RouterSpec]
    Options: ClassVar[type[RouterOptions]] = RouterOptions

    def __init__(self, experts: Sequence[str], options: RouterOptions | None = None) -> None:
        self.experts = tuple(experts)
        self.options = options or self.Options()

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write parameters to `folder` as safetensors and JSON."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises ArtefactError when the folder does not hold this router."""


class Policy(Router):
    """Decides from the prompt. Required: `decide`. Trainable ones also implement `log_policy` or `absorb`."""

    @abstractmethod
    def decide(self, ctx: Context) -> Decision:
        """The decision over `ctx.pool`. Pure, deterministic, under 50 ms; experts it does not know get the prior."""

    def log_policy(self, embeddings: Tensor) -> Tensor | None:
        """(N, d) -> (N, E) log pi(e|x) over `self.experts`, differentiable in `parameters()`; None when it has none."""
        return None

    def parameters(self) -> list[Tensor]:
        """What a gradient objective may change; empty when nothing."""
        return []

    def absorb(self, labels: LabelSet) -> Self | None:
        """A copy that has learned `labels` without gradients (a label is a new row); None when it cannot."""
        return None


class Gate(nn.Module):
    """Decides inside the model: `weights` is the only call in the hot path. Never holds state of a run.

    `experts` are mixable experts in the order of the last axis; the engine maps them to a run's pool.
    """

    experts: tuple[str, ...]

    def weights(self, layer: int, hidden: Tensor) -> Tensor:
        """Weights (B, T, E) float32 on the simplex for the normed attention input `hidden` (B, T, d) of `layer`."""
        raise NotImplementedError


class GateRouter(Router):
    """A router whose decisions are made by a gate inside the model."""

    gate: Gate


ROUTERS: Registry[type[Router]] = Registry("router")
R = TypeVar("R", bound=type[Router])


def router(name: str, *, title: str, level: Level, paper: str | None, trained_from: str) -> Callable[[R], R]:
    """Register a router class under `name`. Raises ValueError for a duplicate, an empty title or an unknown level."""
    if not title or level not in ("prompt", "gate", "controller"):
        raise ValueError(f"router {name!r} needs a title and a level of prompt, gate or controller")

    def add(cls: R) -> R:
        cls.spec = RouterSpec(name=name, title=title, level=level, paper=paper, trained_from=trained_from)
        ROUTERS.register(name, cls)
        return cls

    return add
