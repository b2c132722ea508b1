"""Define the values that flow through the playground.

This module is pure data: no model, no database, no clock.

Shapes: E experts in a pool, L layers, T tokens, d width of the prompt's embedding (384 for the default encoder).
Weight vectors are over the pool in pool order: shape (E,), non-negative, sum 1.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from playground.errors import InvalidRequest

ExpertKind = Literal["base", "lora", "tool", "endpoint", "strategy"]
Level = Literal["prompt", "gate", "controller"]
Scheme = Literal["argmax", "sample", "mixture", "override"]
Serve = Literal["top", "sample", "mix"]

# what each level does, in the order in which menus list them
LEVELS: dict[Level, str] = {
    "prompt": "Reads the prompt and weighs the experts before the answer begins.",
    "gate": "A small module inside the model that weighs the experts for each token in each layer.",
    "controller": "Thinks in rounds: calls an expert, reads what it says, decides again.",
}
# what becomes of the weights that a prompt-level router gives
SERVES: dict[Serve, str] = {
    "top": "the expert with the highest weight answers",
    "sample": "one expert is drawn, by its weight",
    "mix": "the experts are blended",
}
MIXABLE_KINDS: tuple[ExpertKind, ...] = ("base", "lora")


@dataclass(frozen=True)
class Expert:
    """Describe anything that can answer or help.

    `slot` is its palette colour (0 to 9); the base has none, so -1. `folder` is the path of an adapter's folder.
    `is_added` says that a person added it here, and `source` says from where.
    """

    name: str
    kind: ExpertKind
    title: str
    description: str
    mark: str
    slot: int
    licence: str = ""
    trained_on: str = ""
    figure: str = ""
    examples: tuple[str, ...] = ()
    ready: bool = True
    reason: str = ""
    folder: str = ""
    is_added: bool = False
    source: str = ""

    @property
    def is_mixable(self) -> bool:
        """Return whether its effect on the model can be blended with others, per token and layer."""
        return self.kind in MIXABLE_KINDS

    @property
    def card(self) -> str:
        """Return what a router knows about it without labels: title and description in one text."""
        return f"{self.title}. {self.description}"


@dataclass(frozen=True)
class Pool:
    """Hold the ordered experts of a run."""

    experts: tuple[Expert, ...]

    def __post_init__(self) -> None:
        if not self.experts:
            raise InvalidRequest("The pool is empty.", "Choose at least one expert.")
        if len(set(self.names)) != len(self.experts):
            raise InvalidRequest("The pool names an expert twice.", "Name each expert once.")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the experts in pool order."""
        return tuple(expert.name for expert in self.experts)

    @property
    def mixable(self) -> np.ndarray:
        """Return (E,) bool: the experts to which a gate may give weight."""
        return np.array([expert.is_mixable for expert in self.experts])

    @property
    def hash(self) -> str:
        """Return a short name for this choice and order of experts."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.experts)

    def index(self, name: str) -> int:
        """Return the position of the expert called `name`. Raise InvalidRequest when it is not in the pool."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InvalidRequest(f"No expert is called {name!r}.", f"Choose one of: {', '.join(self.names)}.") from None

    def one_hot(self, name: str) -> np.ndarray:
        """Return (E,) float32 with all weight on `name`."""
        weights = np.zeros(len(self), np.float32)
        weights[self.index(name)] = 1.0
        return weights

    def select(self, names: Iterable[str]) -> "Pool":
        """Return the pool of only these experts, in this pool's order. Raise InvalidRequest for an unknown name."""
        wanted = {self.index(name) for name in names}
        return Pool(tuple(expert for i, expert in enumerate(self.experts) if i in wanted))


# --- evidence: why a router decided as it did; a closed union, one drawing function per member -----------------


@dataclass(frozen=True)
class Neighbours:
    """Show the known prompts nearest to this one.

    `similarities` are cosines. `experts` names, for each prompt, the expert that did best there.
    """

    kind: ClassVar[str] = "neighbours"
    sentence: str
    prompts: tuple[str, ...]
    similarities: tuple[float, ...]
    experts: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """Show a score before the softmax for each of `experts`. When `experts` is empty, the scores are in pool order.

    `words` are words of the prompt that moved the top score.
    """

    kind: ClassVar[str] = "scores"
    sentence: str
    scores: tuple[float, ...]
    words: tuple[tuple[str, float], ...] = ()
    experts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """Show a sentence that explains the whole decision."""

    kind: ClassVar[str] = "text"
    sentence: str


Evidence = Neighbours | Scores | Text
EVIDENCE: dict[str, type] = {member.kind: member for member in get_args(Evidence)}


@dataclass(frozen=True, eq=False)
class Decision:
    """Hold what a router decided before decoding, with enough to draw why.

    `weights` is (E,) float32. `uncertainty` (E,) is a half width for each weight, where the router gives one.
    """

    weights: np.ndarray
    evidence: Evidence
    uncertainty: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """Hold what a policy may look at.

    `embedding` (d,) has unit norm. `descriptors` (E, d) embed the cards of the experts.
    """

    prompt: str
    pool: Pool
    embedding: np.ndarray
    descriptors: np.ndarray
    seed: int = 0


@dataclass(frozen=True)
class Sampling:
    """Hold how the next token is drawn. Temperature 0 always takes the likeliest token."""

    temperature: float = 0.2
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    max_new_tokens: int = 160
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bounds = {
            "temperature": (0.0, 5.0),
            "top_p": (0.01, 1.0),
            "repetition_penalty": (1.0, 2.0),
            "max_new_tokens": (1, 2048),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidRequest(f"{name} is {getattr(self, name)}.", f"Give a value from {low} to {high}.")


@dataclass(frozen=True)
class RouterInfo:
    """Describe a router as a person sees it.

    `version` is the one in force. `reason` says why it is not ready. `note` says what to know even when it is ready,
    such as experts it was not trained with. `options` describe a control for each setting that a run may change.
    """

    name: str
    title: str
    level: Level
    paper: str | None
    trained_from: str
    ready: bool
    reason: str
    figure: str
    version: str
    note: str = ""
    options: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Observe:
    """Name the attention head to watch while decoding."""

    layer: int
    head: int


@dataclass(frozen=True)
class RunRequest:
    """Ask for one prompt through one router.

    `pool` None means every ready expert. `version` None means the promoted one. `override` replaces the router's
    weights, in pool order: the counterfactual. With `override_layers` (counted from 0) it does so in these layers
    only. `serve` says how prompt-level weights are used: the heaviest expert answers, one is drawn, or the mixable
    ones are blended. `options` change settings of the router for this run only.
    """

    prompt: str
    router: str = "knn"
    version: str | None = None
    pool: tuple[str, ...] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    observe: Observe | None = None
    override: tuple[float, ...] | None = None
    serve: Serve = "top"
    override_layers: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def normalised(weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return `weights` scaled to sum 1, (E,) float32.

    Raise InvalidRequest for negative or infinite values, and when no weight is positive.
    """
    values = np.asarray(weights, dtype=np.float64)
    total = values.sum()
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or total <= 0:
        raise InvalidRequest(
            "These weights cannot be used.", "Give one number per expert: none below 0, at least one above 0."
        )
    return np.asarray(values / total, np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis: computed in float64, returned as float32."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
