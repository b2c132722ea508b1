"""What an objective is: a loss per label on the one form that all prompt-level learning shares.

P(A beats B | x) = sigmoid(beta (u_A - u_B) . (log pi - log pi_ref)); normalisers cancel: differences sum to 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from playground.core.plugins import Plugins
from playground.options import Options


class ObjectiveOptions(Options):
    """Settings of an objective. Each is drawn as a control on the page and taken as `--option name=value`."""

    beta: float = Field(0.1, ge=0.1, le=10.0, description="How boldly to act on labels: lower moves routing further.")
    ridge: float = Field(0.1, ge=0.01, le=100.0, description="How strongly to stay near the version before.")
    cap: float = Field(0.5, gt=0.0, le=10.0, description="How far routing may move on average, in nats of KL.")


@dataclass(frozen=True)
class ObjectiveSpec:
    """What the page says of an objective. `paper` is an arXiv id or None."""

    name: str
    title: str
    paper: str | None
    description: str


class Objective(ABC):
    """A loss on labels. `options.beta` sets how far the policy moves for the same fit."""

    spec: ClassVar[ObjectiveSpec]
    Options: ClassVar[type[ObjectiveOptions]] = ObjectiveOptions

    def __init__(self, options: ObjectiveOptions | None = None) -> None:
        self.options = options or self.Options()

    @abstractmethod
    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """z (N,): log odds that A beats B, from log pi (N, E), log pi_ref (N, E) and u_A - u_B (N, E)."""

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """(N,) weighted loss per label; `target` (N,) is P(A beats B), `weight` (N,) >= 0."""
        return weight * soft_loss(self.margin(log_policy, log_reference, usage_difference), target)

    @property
    def ridge_scale(self) -> float:
        """What parameters are multiplied by to be the parameters of the scores that `margin` reads."""
        return self.options.beta

    @property
    def step(self) -> float:
        """The share of the fitted change that serving takes: 1 when beta is inside the loss, else 1 / beta."""
        return 1.0


def soft_loss(margin: Tensor, target: Tensor) -> Tensor:
    """(N,) cross-entropy of sigmoid(margin) with a soft target: -y log s(z) - (1-y) log s(-z)."""
    return -target * logsigmoid(margin) - (1 - target) * logsigmoid(-margin)


def log_ratio_margin(log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
    """(N,) (u_A - u_B) . (log pi - log pi_ref)."""
    return torch.einsum("ne,ne->n", usage_difference, log_policy - log_reference)


OBJECTIVES: Plugins[type[Objective]] = Plugins("label objective", "playground.learn.labels.objectives")
O = TypeVar("O", bound=type[Objective])  # noqa: E741


def objective(name: str, *, title: str, paper: str | None, description: str) -> Callable[[O], O]:
    """Register an objective class under `name`. Raises ValueError for a duplicate or an empty title."""
    if not title or not description:
        raise ValueError(f"objective {name!r} needs a title and a description")

    def add(cls: O) -> O:
        cls.spec = ObjectiveSpec(name=name, title=title, paper=paper, description=description)
        OBJECTIVES.register(name, cls)
        return cls

    return add
