"""What a router is: the contract of policies and gates, and the decorator that registers them.

A *policy* decides over the pool from the prompt, before decoding. A *gate* is a module inside the model that decides
for each token and layer. Both are listed as routers. A router holds parameters only; everything of one run lives in
the call.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from playground.core.plugins import Plugins
from playground.core.preferences import LabelledPair
from playground.core.values import Context, Decision, Level
from playground.errors import ArtefactError, InvalidRequest
from playground.options import Options
from playground.routers.artefact import read_router, write_router


class RouterOptions(Options):
    """Settings of a router. Each is drawn as a control on the page and taken as `--option name=value`."""


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


@dataclass(eq=False)
class GateRun:
    """What a gate keeps of one run, and of nothing else; made by `Gate.open`, carried by the run's row.

    `prior` (G,) are the logits or scores the prompt as a whole gave, `prompt_tokens` its length, `read` how many tokens
    the model had read before the call under way, `memory` whatever else the gate keeps.
    """

    prompt_tokens: int
    prior: Tensor | None = None
    read: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)


class Gate(nn.Module):
    """Decides inside the model: `weights` is the only call in the hot path. Never holds state of a run.

    `experts` are mixable experts in the order of the last axis, G of them; the engine maps them to a run's pool.
    """

    experts: tuple[str, ...]
    needs_embedding: ClassVar[bool] = False
    reads_final: ClassVar[bool] = False

    def open(self, prompt_tokens: int, embedding: Tensor | None = None) -> GateRun:
        """The state of a new run, whose prompt has that many tokens and, where asked for, that embedding (d,)."""
        return GateRun(prompt_tokens)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Weights (B, T, G) float32 on the simplex for the normed attention input `hidden` (B, T, d) of `layer`.

        Row i belongs to `runs[i]`.
        """
        raise NotImplementedError

    def dense(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """What `weights` cuts down to some experts or to some tokens, (B, T, G); by default the weights themselves."""
        return self.weights(layer, hidden, runs)

    def read_final(self, hidden: Tensor, run: GateRun, *, first_pass: bool) -> None:
        """Take the final hidden states (T, d) of a pass, when `reads_final`; the first pass is the plain base's."""


def priors(runs: Sequence[GateRun]) -> Tensor | None:
    """(B, 1, G) priors of the runs; None when they have none."""
    found = [run.prior for run in runs if run.prior is not None]
    if len(found) == 1:
        return found[0].view(1, 1, -1)
    return torch.stack(found).unsqueeze(1) if found else None


@dataclass(frozen=True, eq=False)
class Installed:
    """What can be mixed now: `names` (N,) with the base first, `descriptors` (N, d_z) float32 of their cards, unit
    length, and `directions` (L, N, d): the input direction each adapter answers to most in each layer, zero for one
    that adapts nothing there."""

    names: tuple[str, ...]
    descriptors: np.ndarray
    directions: Callable[[], Tensor]


class GateRouter(Router):
    """A router whose decisions are made by a gate inside the model; made for `layers` layers of `width` channels.

    A subclass says in `build` what its gate is; saving and loading its parameters is the same for all.
    """

    gate: Gate
    any_model: ClassVar[bool] = False  # whether the gate has no parameters of a model's size

    def __init__(
        self, experts: Sequence[str], options: RouterOptions | None = None, *, layers: int, width: int
    ) -> None:
        super().__init__(experts, options)
        self.layers = layers
        self.width = width
        self.gate = self.build().eval().requires_grad_(False)

    def check_model(self, layers: int, width: int) -> None:
        """Raise InvalidRequest when the gate was made for a model of another size."""
        if not self.any_model and (layers, width) != (self.layers, self.width):
            raise InvalidRequest(
                f"This gate was made for a model of {self.layers} layers and {self.width} channels.",
                f"Fit it again for this one: python -m playground routers fit {self.spec.name}",
            )

    @abstractmethod
    def build(self) -> Gate:
        """An untrained gate over `self.experts` with `self.options`."""

    def gate_for(self, installed: Installed) -> Gate:
        """The gate over the experts there are now. Gates that need no training take in experts they never saw."""
        return self.gate

    def save(self, folder: Path) -> None:
        """Write the gate's parameters as float16, and its experts, options and shape."""
        card = {
            "experts": list(self.experts),
            "options": self.options.model_dump(),
            "layers": self.layers,
            "width": self.width,
        }
        tensors = {key: value.detach().cpu().half().numpy() for key, value in self.gate.state_dict().items()}
        write_router(folder, self.spec.name, card, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises ArtefactError when the parameters do not fit the card."""
        card, tensors = read_router(folder, cls.spec.name, {})
        try:
            made = cls(
                tuple(card["experts"]),
                cls.Options(**card.get("options", {})),
                layers=int(card["layers"]),
                width=int(card["width"]),
            )
            made.gate.load_state_dict({key: torch.from_numpy(value).float() for key, value in tensors.items()})
        except (KeyError, RuntimeError, ValueError) as error:
            raise ArtefactError(f"The gate in {folder.name} does not fit its card.", "Train it again.") from error
        return made


ROUTERS: Plugins[type[Router]] = Plugins("router", "playground.routers.prompt", "playground.routers.gate")
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
