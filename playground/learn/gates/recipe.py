"""Define how a gate is trained: its plan, the owner of each token, how it begins, and how it ends.

A gate that is trained in its own way has a file in `recipes/`. Any other gate with parameters is trained by the default
recipe: answer loss and load balance. This module knows nothing of optimisers.
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
    """The settings of a gate's training.

    It makes `hard_steps` on kept hidden states, at peak rate `hard_rate` and weight decay `decay`. Then it makes
    `steps` through the frozen model, at peak rate `rate`. A batch through the model has the recipe's rows of each
    expert, and `spliced` two-part rows. About `rows` training rows of each expert are read, of at most `max_tokens`.

    Hidden states are kept under each token's own expert, or under the even mix with `even_states`. With `near_answer`
    they are kept only where the answer begins.

    The loss through the model has four terms, with these weights: `answer` for the answer loss, `balance` for G Σ p̄ f̄,
    `entropy` for the mean token entropy in nats, `own` for the cross-entropy to the token's own expert.
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
        """Return whether anything is learned by gradient."""
        return self.steps + self.hard_steps > 0

    def shortened(self, steps: int | None) -> "GatePlan":
        """Return this plan with `steps` steps through the model. None changes nothing."""
        return self if steps is None else replace(self, steps=steps)


@dataclass(frozen=True, eq=False)
class GateMaterial:
    """What a recipe may use to begin a gate: the rows by expert, two-part rows, and what is installed.

    `names` are the bank's experts with the base first. `descriptors` (N, d_z) embed their cards. `width` is that of the
    model. `routers` is the folder of the routers that ship with the app.
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
    """The default way to train a gate. The owner of a row is its expert. The plan weighs the terms of the loss."""

    plan: ClassVar[GatePlan] = GatePlan(balance=1e-2)

    def rows(self, expert: str, plan: GatePlan) -> int:
        """Return how many training rows of the mix of `expert` are read."""
        return plan.rows

    def two_part_rows(self, plan: GatePlan) -> int:
        """Return how many two-part rows are made."""
        return plan.rows

    def draws(self, expert: str) -> int:
        """Return how many rows of the mix of `expert` are in each batch through the model."""
        return 1

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """Return the gate's experts, chosen from those in the bank. The base comes first."""
        return tuple(installed)

    def owner(self, expert: str, task: str) -> str:
        """Return the gate's expert that owns a row of `task` from the mix of `expert`."""
        return expert

    def prepare(self, router: R, material: GateMaterial) -> tuple[R, Mapping[str, Any]]:
        """Return the router to train, as it begins, and figures for its card."""
        return router, {}

    def memory(self, owned: Owned) -> Mapping[str, Tensor]:
        """Return what the gate's memory of a training row holds at first. By default it holds nothing."""
        return {}

    def own_loss(self, weights: Tensor, owners: Tensor) -> Tensor:
        """Return the cross-entropy of weights (N, G) to the tokens' owners (N,), in nats."""
        return -weights.gather(1, owners.unsqueeze(1)).clamp_min(1e-9).log().mean()

    def settle(self, router: R) -> None:
        """Change the router after training, before it is saved. By default nothing changes."""


class UntrainedRecipe(GateRecipe[GateRouter]):
    """The recipe of a gate without parameters, which is only measured and written."""

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
    """Return the recipe of a gate router: its own, else the default for gates with or without parameters."""
    if kind.spec.name in GATE_RECIPES:
        return GATE_RECIPES.get(kind.spec.name)
    return GateRecipe() if kind.needs_training else UntrainedRecipe()


def owner_index(
    recipe: GateRecipe[Any], owned: Owned, index: int, *, names: Sequence[str], experts: Sequence[str]
) -> int:
    """Return the position among the gate's `experts` of a token's owner, which is `index` in the bank's `names`."""
    return experts.index(recipe.owner(names[index], owned.example.task))


def mean_prompts(recipe: GateRecipe[Any], router: GateRouter, material: GateMaterial, matrix: Tensor) -> Tensor:
    """Return (G, d_z), like `matrix`: each expert's mean prompt, at unit length. It is zero for one without rows."""
    total = torch.zeros_like(matrix)
    for rows in material.training.values():
        for owned in rows:
            place = owner_index(recipe, owned, owned.expert, names=material.names, experts=router.experts)
            total[place] += owned.embedding
    return torch.nn.functional.normalize(total, dim=1)
