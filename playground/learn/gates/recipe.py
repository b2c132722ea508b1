"""How a gate is trained: its plan, whose token is whose, what it begins with, and what is done to it at the end.

One file in `recipes/` for each gate that is trained in a way of its own. A gate with parameters and without a recipe
is trained by the default one: answer loss and load balance. Knows nothing of optimisers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from playground.core.plugins import Plugins
from playground.learn.gates.data import Owned
from playground.routers.base import GateRouter


@dataclass(frozen=True)
class GatePlan:
    """A gate's training: `hard_steps` on kept hidden states (no pass through the model), then `steps` through the
    frozen model, with the recipe's rows of each domain and `spliced` two-part ones; `rows` training rows a domain,
    `rate` the peak rate. `even_states` keeps the hidden states under the even mix, not under each token's expert, and
    `near_answer` only where the answer begins; `decay` is the weight decay on them.

    The weights of the terms: `balance` of E Σ p̄ f̄, `entropy` of the mean token entropy in nats, `own` of the
    cross-entropy to the token's own expert.
    """

    steps: int = 60
    hard_steps: int = 0
    rows: int = 80
    spliced: int = 0
    even_states: bool = False
    near_answer: bool = False
    decay: float = 0.0
    rate: float = 1e-2
    hard_rate: float = 3e-2
    answer: float = 1.0
    balance: float = 0.0
    entropy: float = 0.0
    own: float = 0.0
    max_tokens: int = 160
    seed: int = 0

    @property
    def has_steps(self) -> bool:
        """Whether anything is learned by gradient."""
        return self.steps + self.hard_steps > 0

    def shortened(self, steps: int | None) -> "GatePlan":
        """Return this plan with another number of steps through the model; None leaves it."""
        return self if steps is None else replace(self, steps=steps)


@dataclass(frozen=True, eq=False)
class GateMaterial:
    """What a recipe may begin a gate with: the rows by expert, two-part rows, and what is installed.

    `names` are the bank's experts with the base first, `descriptors` (N, d_z) embed their cards. `width` is the
    model's. `routers` is the folder of the routers that ship with the app.
    """

    names: tuple[str, ...]
    descriptors: np.ndarray
    width: int
    training: Mapping[str, Sequence[Owned]]
    validation: Mapping[str, Sequence[Owned]]
    two_part: Sequence[Owned]
    routers: Path


R = TypeVar("R", bound=GateRouter)


class GateRecipe(Generic[R]):
    """The default: the owner of a row is its expert; answer loss, balance and entropy as the plan weighs them."""

    plan: ClassVar[GatePlan] = GatePlan(balance=1e-2)

    def rows(self, expert: str, plan: GatePlan) -> int:
        """Return how many training rows of an expert's mix are read."""
        return plan.rows

    def two_part_rows(self, plan: GatePlan) -> int:
        """Return how many rows of two experts' prompts in one are made."""
        return plan.rows

    def draws(self, expert: str) -> int:
        """Return how many rows of an expert's mix are in each batch through the model."""
        return 1

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """Return the gate's experts, of those in the bank; the base comes first."""
        return tuple(installed)

    def owner(self, expert: str, task: str) -> str:
        """Return the gate's expert to which a row of `task`, from the mix of `expert`, belongs."""
        return expert

    def prepare(self, router: R, material: GateMaterial) -> tuple[R, Mapping[str, Any]]:
        """Return the router to train, with what it begins with, and figures for its card."""
        return router, {}

    def memory(self, owned: Owned) -> Mapping[str, Tensor]:
        """Return what is put into the gate's memory of a training row."""
        return {}

    def own_loss(self, weights: Tensor, owners: Tensor) -> Tensor:
        """Return the cross-entropy of weights (N, G) to the tokens' owners (N,), in nats."""
        return -weights.gather(1, owners.unsqueeze(1)).clamp_min(1e-9).log().mean()

    def settle(self, router: R) -> None:
        """Change a router that has learned, before it is saved."""


class UntrainedRecipe(GateRecipe[GateRouter]):
    """A gate without parameters is only written and measured."""

    plan = GatePlan(steps=0, rows=40, max_tokens=320)


GATE_RECIPES: Plugins[GateRecipe[Any]] = Plugins("gate recipe", "playground.learn.gates.recipes")
C = TypeVar("C", bound=type[GateRecipe[Any]])


def gate_recipe(name: str) -> Callable[[C], C]:
    """Register a recipe class for the gate router `name`. Raise ValueError for a second one."""

    def add(cls: C) -> C:
        GATE_RECIPES.register(name, cls())
        return cls

    return add


def recipe_for(kind: type[GateRouter]) -> GateRecipe[Any]:
    """Return the recipe of a gate router: its own, or the default for gates with or without parameters."""
    if kind.spec.name in GATE_RECIPES:
        return GATE_RECIPES.get(kind.spec.name)
    return GateRecipe() if kind.needs_training else UntrainedRecipe()


def owner_index(
    recipe: GateRecipe[Any], owned: Owned, index: int, *, names: Sequence[str], experts: Sequence[str]
) -> int:
    """Return the place among the gate's `experts` of the owner of a token of `owned`: the bank's expert `index`."""
    return experts.index(recipe.owner(names[index], owned.example.task))


def mean_prompts(recipe: GateRecipe[Any], router: GateRouter, material: GateMaterial, matrix: Tensor) -> Tensor:
    """Return (G, d_z), like `matrix`: each expert's mean prompt at unit length; zero for one without rows."""
    total = torch.zeros_like(matrix)
    for rows in material.training.values():
        for owned in rows:
            place = owner_index(recipe, owned, owned.expert, names=material.names, experts=router.experts)
            total[place] += owned.embedding
    return torch.nn.functional.normalize(total, dim=1)
