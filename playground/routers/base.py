"""What a router is: the contract of policies and gates, and the decorator that registers them.

A *policy* decides over the pool from the prompt, before decoding. A *gate* is a module inside the model that decides
for each token and layer. Both are listed as routers. A router holds parameters only. What belongs to one run travels
with each call.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from playground.core.plugins import Plugins
from playground.core.preferences import LabelledPair
from playground.core.values import Context, Decision, Level
from playground.errors import ArtefactError, InvalidRequest, NotReady
from playground.options import Options
from playground.routers.artefact import read_router, write_router


class RouterOptions(Options):
    """Settings of a router. Each is drawn as a control on the page and taken as `--option name=value`.

    Mark those that are fixed once parameters are fitted: `Field(…, json_schema_extra=fitted())`.
    """


@dataclass(frozen=True)
class RouterSpec:
    """What the page shows about a router. `paper` is an arXiv id or None. `trained_from` is in words."""

    name: str
    title: str
    level: Level
    paper: str | None
    trained_from: str


@dataclass(frozen=True, eq=False)
class ExampleSet:
    """Examples ready for a fit: `embeddings` (N, d), `answers` (N,) int positions in `experts`."""

    experts: tuple[str, ...]
    prompts: tuple[str, ...]
    embeddings: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: np.ndarray) -> "ExampleSet":
        """Return the examples at `rows` (int or bool), over the same experts."""
        at = np.arange(len(self))[rows]
        return ExampleSet(self.experts, tuple(self.prompts[i] for i in at), self.embeddings[at], self.answers[at])


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels ready for a fit. Row `at[i]` of `vectors` (P, d) float32 embeds the prompt of `pairs[i]`.

    Labels on one prompt share a row, and parts of a set share `vectors`. Without `at`, row i is that of label i.
    """

    pairs: Sequence[LabelledPair]
    vectors: np.ndarray
    at: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def embeddings(self) -> np.ndarray:
        """Return (N, d) a copy of the embedding of each label's prompt."""
        return self.vectors if self.at is None else self.vectors[self.at]

    @property
    def rows(self) -> np.ndarray:
        """Return (N,) the row of `vectors` for each label."""
        return np.arange(len(self)) if self.at is None else self.at

    def usage_difference(self, experts: Sequence[str]) -> np.ndarray:
        """Return (N, E) float32: the usage of A minus the usage of B, over `experts`. Other experts are left out."""
        difference = np.zeros((len(self), len(experts)), np.float32)
        column = {name: i for i, name in enumerate(experts)}
        for row, pair in enumerate(self.pairs):
            for position, name in enumerate(pair.experts):
                if name in column:
                    difference[row, column[name]] += pair.usage_a[position] - pair.usage_b[position]
        return difference

    @property
    def targets(self) -> np.ndarray:
        """Return (N,) float32: the probability that A beats B."""
        return np.array([pair.target for pair in self.pairs], np.float32)

    @property
    def weights(self) -> np.ndarray:
        """Return (N,) float32: how much each label counts."""
        return np.array([pair.weight for pair in self.pairs], np.float32)


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a router is made from when nothing was fitted for it yet.

    `examples` returns the shipped example prompts with their embeddings. `experts` are those that can be mixed, with
    the base first. `layers` and `width` are those of the model.
    """

    examples: Callable[[], ExampleSet]
    experts: tuple[str, ...]
    layers: int
    width: int


class Router(ABC):
    """The base of policies and gates. Parameters are in the order of `experts`. A run may use only some of these."""

    spec: ClassVar[RouterSpec]
    Options: ClassVar[type[RouterOptions]] = RouterOptions
    needs_training: ClassVar[bool] = False  # True: it cannot be used before `routers fit`
    learns_from_labels: ClassVar[bool] = False  # True: a fine-tune can train it

    def __init__(self, experts: Sequence[str], options: RouterOptions | None = None) -> None:
        self.experts = tuple(experts)
        self.options = options or self.Options()

    @classmethod
    @abstractmethod
    def begin(cls, beginning: Beginning) -> Self:
        """Return the router as it is before any fit. Raise NotReady for a router that must be trained first."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write parameters to `folder` as safetensors and JSON."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Return the router that `save` wrote. Raise ArtefactError when the folder does not hold this router."""

    def with_options(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with these run-time options and the same parameters. A value may be given as text.

        Raise InvalidRequest for an unknown option, a wrong value, or an option that is fixed by the fit.
        """
        options = self.options.changed(values)
        run_time = {control["name"] for control in self.Options.controls(run_time=True)}
        fixed = [name for name in values if name not in run_time]
        if fixed:
            raise InvalidRequest(
                f"The option {fixed[0]!r} of {self.spec.title} is set when the router is fitted.",
                f"Fit it again: python -m playground routers fit {self.spec.name} --option {fixed[0]}=VALUE",
            )
        return self._copy(options)

    def _copy(self, options: RouterOptions) -> Self:
        """Return this router with other run-time options."""
        made = copy.copy(self)
        made.options = options
        return made


class Policy(Router):
    """A router that decides from the prompt. It must implement `decide`.

    A policy with parameters also implements `from_examples`, `save` and `load`. A policy that learns from labels sets
    `learns_from_labels`, and implements either `log_policy` and `parameters`, or `absorb`.
    """

    @abstractmethod
    def decide(self, ctx: Context) -> Decision:
        """Return the decision over `ctx.pool`, in under 50 ms.

        The same input gives the same decision. An expert without parameters gets its share of the prior.
        """

    @classmethod
    def from_examples(cls, examples: ExampleSet, options: RouterOptions | None = None) -> Self:
        """Return the policy fitted on `examples`. By default there is nothing to fit."""
        return cls(examples.experts, options)

    @classmethod
    def begin(cls, beginning: Beginning) -> Self:
        """Return the policy fitted on the example prompts, which takes a second or two at most."""
        return cls.from_examples(beginning.examples())

    def save(self, folder: Path) -> None:
        """Write experts and options. By default there are no other parameters."""
        options = self.options.model_dump()
        card = {"experts": list(self.experts), **({"options": options} if options else {})}
        write_router(folder, self.spec.name, card, {"nothing": np.zeros(0, np.float32)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the policy that `save` wrote. Raise ArtefactError when the folder does not hold it."""
        card, _ = read_router(folder, cls.spec.name, {})
        return cls(card["experts"], cls.Options(**card.get("options", {})))

    def log_policy(self, embeddings: Tensor) -> Tensor | None:
        """Return log pi(e|x) (N, E) over `self.experts` for embeddings (N, d). Return None when the policy has none.

        The result is differentiable in `parameters()`.
        """
        return None

    def parameters(self) -> list[Tensor]:
        """Return the tensors that a label objective may change by gradient. By default there are none."""
        return []

    def absorb(self, labels: LabelSet) -> Self | None:
        """Return a copy that has learned `labels` without gradients. Return None when the policy cannot do that.

        For example, a policy may store each label as a new row.
        """
        return None


@dataclass(eq=False)
class GateRun:
    """The state that a gate keeps for one run. `Gate.open` makes it, and the run's row carries it.

    `prompt_tokens` is the length of the prompt. `prior` (G,) holds the logits or scores from the prompt as a whole.
    `read` is how many tokens the model had read before this call. `saw_plain` says whether `read_final` was given the
    plain base's pass over the prompt. `memory` holds whatever else the gate keeps. Replace its entries; never change
    one in place.
    """

    prompt_tokens: int
    prior: Tensor | None = None
    read: int = 0
    saw_plain: bool = False
    memory: dict[str, Tensor] = field(default_factory=dict)


class Gate(nn.Module):
    """A module that decides inside the model. Each layer calls `weights` for each token. It holds no state of a run.

    `experts` are mixable experts in the order of the last axis, G of them; the engine maps them to a run's pool.
    `top_k` is how many of them may act on one token; None is all. The model reads a long prompt in pieces; a gate whose
    weights on one prompt token depend on later ones says `reads_whole_prompt`, and is given the prompt in one pass.
    """

    experts: tuple[str, ...]
    top_k: int | None = None
    needs_embedding: ClassVar[bool] = False
    reads_final: ClassVar[bool] = False
    reads_whole_prompt: ClassVar[bool] = False

    def open(self, prompt_tokens: int, embedding: Tensor | None = None) -> GateRun:
        """Return the state of a new run: its prompt's length and, when `needs_embedding`, its embedding (d,)."""
        return GateRun(prompt_tokens)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) float32 on the simplex for the normed attention input `hidden` (B, T, d) of `layer`.

        Row i belongs to `runs[i]`.
        """
        raise NotImplementedError

    def dense(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return the weights (B, T, G) before any expert or token is cut off. By default nothing is cut off."""
        return self.weights(layer, hidden, runs)

    def in_training(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> tuple[Tensor, Tensor]:
        """Return (weights that act in a training step, weights that the losses read), each (B, T, G).

        Both are differentiable. By default they are `weights`.
        """
        made = self.weights(layer, hidden, runs)
        return made, made

    def read_final(self, hidden: Tensor, run: GateRun, *, first_pass: bool) -> None:
        """Take the final hidden states (T, d) of a pass. It is called only when `reads_final` is set.

        `first_pass` marks the pass over the prompt by the plain base.
        """


@dataclass(frozen=True, eq=False)
class Installed:
    """The experts that can be mixed now: `names` (N,), with the base first.

    `descriptors` (N, d_z) float32 embed their cards, at unit length. `directions` returns (L, N, d): in each layer, the
    input direction to which each adapter responds most. It is zero where an adapter changes nothing.
    """

    names: tuple[str, ...]
    descriptors: np.ndarray
    directions: Callable[[], Tensor]


class GateRouter(Router):
    """A router whose gate decides inside a model of `layers` layers and `width` channels. It must implement `build`.

    A gate without parameters sets `needs_training = False`. It fits every model, and is built over the installed
    experts. A gate that accepts experts that it was not trained with sets `takes_any_expert = True`.
    """

    gate: Gate
    needs_training = True
    takes_any_expert: ClassVar[bool] = False

    def __init__(
        self, experts: Sequence[str], options: RouterOptions | None = None, *, layers: int, width: int
    ) -> None:
        super().__init__(experts, options)
        self.layers = layers
        self.width = width
        self.gate = self.build().eval().requires_grad_(False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.needs_training:
            cls.takes_any_expert = True

    @classmethod
    def begin(cls, beginning: Beginning) -> Self:
        """Return the gate over the installed experts. Raise NotReady for a gate that must be trained first."""
        if cls.needs_training:
            raise NotReady(
                f"The gate {cls.spec.title} is not trained yet.",
                f"Train it: python -m playground routers fit {cls.spec.name}",
            )
        return cls(beginning.experts, layers=beginning.layers, width=beginning.width)

    def check_model(self, layers: int, width: int) -> None:
        """Raise InvalidRequest when the gate was made for a model of another size."""
        if self.needs_training and (layers, width) != (self.layers, self.width):
            raise InvalidRequest(
                f"This gate was made for a model of {self.layers} layers and {self.width} channels.",
                f"Fit it again for this one: python -m playground routers fit {self.spec.name}",
            )

    @abstractmethod
    def build(self) -> Gate:
        """Return an untrained gate over `self.experts` with `self.options`."""

    def gate_for(self, installed: Installed) -> Gate:
        """Return the gate over the installed experts. A trained gate keeps the experts that it was trained with."""
        if self.needs_training or installed.names == self.experts:
            return self.gate
        return type(self)(installed.names, self.options, layers=self.layers, width=self.width).gate

    def _copy(self, options: RouterOptions) -> Self:
        """Return a router whose gate has the same parameters and is built with `options`."""
        with torch.random.fork_rng(devices=[]):  # a new gate may draw random numbers, which must not change sampling
            made = type(self)(self.experts, options, layers=self.layers, width=self.width)
        made.gate.load_state_dict(self.gate.state_dict())
        return made

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
        """Return the gate router that `save` wrote. Raise ArtefactError when the parameters do not fit the card."""
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
            raise ArtefactError(f"The gate in {folder.name} does not match its card.", "Train it again.") from error
        return made


ROUTERS: Plugins[type[Router]] = Plugins("router", "playground.routers.prompt", "playground.routers.gate")
R = TypeVar("R", bound=type[Router])


def router(name: str, *, title: str, level: Level, paper: str | None, trained_from: str) -> Callable[[R], R]:
    """Register a router class under `name`. Raise ValueError for a duplicate, an empty title or an unknown level."""
    if not title or level not in ("prompt", "gate", "controller"):
        raise ValueError(f"router {name!r} needs a title and a level of prompt, gate or controller")

    def add(cls: R) -> R:
        cls.spec = RouterSpec(name=name, title=title, level=level, paper=paper, trained_from=trained_from)
        ROUTERS.register(name, cls)
        return cls

    return add
