"""Define a label objective: a loss per label, on the form that all prompt-level learning shares.

P(A beats B | x) = sigmoid(beta (u_A - u_B) . (log pi - log pi_ref)). The usages u_A and u_B both sum to 1, so the
normalisers of pi and pi_ref cancel.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from playground.core.plugins import Plugins
from playground.learn.labels.options import LabelObjectiveOptions

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting, LabelBatch


@dataclass(frozen=True)
class LabelObjectiveSpec:
    """What the page shows about an objective. `paper` is an arXiv id or None."""

    name: str
    title: str
    paper: str | None
    description: str


class LabelObjective:
    """A loss on labels. A lower `options.beta` moves the policy further for the same fit.

    By default it is DPO. Most change `margin` or `loss`. One that learns in rounds, in an order or from labels that it
    has changed writes `learn`. One with parameters of its own returns them in `heads`, and reads them in `margins` and
    `losses`. An object keeps what it has learned, so it learns once.
    """

    spec: ClassVar[LabelObjectiveSpec]
    Options: ClassVar[type[LabelObjectiveOptions]] = LabelObjectiveOptions
    uses_reference: ClassVar[bool] = True  # False: the margin ignores the version before

    def __init__(self, options: LabelObjectiveOptions | None = None) -> None:
        self.options = options or self.Options()

    def margin(self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
        """Return z (N,): the log odds that A beats B, from log pi (N, E), log pi_ref (N, E) and u_A - u_B (N, E).

        By default this is the margin of DPO: beta times the difference of log ratios.
        """
        return self.options.beta * log_ratio_margin(log_policy, log_reference, usage_difference)

    def loss(
        self, log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Return the weighted loss (N,) of each label. `target` (N,) is P(A beats B). `weight` (N,) is not negative."""
        return weight * soft_loss(self.margin(log_policy, log_reference, usage_difference), target)

    def margins(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return `margin` (N,) for labels. An objective with heads may look at all that a label has."""
        return self.margin(log_policy, rows.reference, rows.difference)

    def losses(self, log_policy: Tensor, rows: "LabelBatch") -> Tensor:
        """Return `loss` (N,) for labels. An objective with heads may look at all that a label has."""
        return self.loss(log_policy, rows.reference, rows.difference, rows.target, rows.weight)

    def heads(self) -> list[Tensor]:
        """Return the objective's own tensors that a descent changes. By default there are none."""
        return []

    def learn(self, fitting: "Fitting") -> Iterator["FitProgress"]:
        """Change `fitting.policy`, and yield progress. By default this is one descent on all labels."""
        yield from fitting.descend(self)

    @property
    def odds_scale(self) -> float:
        """Return the factor from a change of log weights to log odds."""
        return self.options.beta

    @property
    def ridge_scale(self) -> float:
        """Return by what the change of parameters is multiplied before the ridge penalises it.

        With this factor the ridge means the same for every objective: it acts on the scores in `margin`.
        """
        return self.options.beta

    @property
    def step(self) -> float:
        """Return the factor of the fitted change that is served. It is 1 when beta is in the loss, else 1 / beta."""
        return 1.0


def soft_loss(margin: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy (N,) of sigmoid(margin) with a soft target: -y log s(z) - (1-y) log s(-z)."""
    return -target * logsigmoid(margin) - (1 - target) * logsigmoid(-margin)


def log_ratio_margin(log_policy: Tensor, log_reference: Tensor, usage_difference: Tensor) -> Tensor:
    """Return (N,) (u_A - u_B) . (log pi - log pi_ref)."""
    return torch.einsum("ne,ne->n", usage_difference, log_policy - log_reference)


LABEL_OBJECTIVES: Plugins[type[LabelObjective]] = Plugins("label objective", "playground.learn.labels.objectives")
C = TypeVar("C", bound=type[LabelObjective])


def label_objective(name: str, *, title: str, paper: str | None, description: str) -> Callable[[C], C]:
    """Register an objective class under `name`. Raise ValueError for a duplicate or an empty title or description."""
    if not title or not description:
        raise ValueError(f"label objective {name!r} needs a title and a description")

    def add(cls: C) -> C:
        cls.spec = LabelObjectiveSpec(name=name, title=title, paper=paper, description=description)
        LABEL_OBJECTIVES.register(name, cls)
        return cls

    return add
