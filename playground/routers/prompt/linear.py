"""A linear probe on the prompt embedding: one weight vector per expert, through a softmax.

Source: supervised classifiers in arXiv:2502.00409, the linear case, with soft labels and a calibrated temperature.
Knows nothing of experts beyond their order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from playground.core.values import Context, Decision, Scores
from playground.errors import ArtefactError
from playground.options import fitted
from playground.routers.artefact import read_router, write_router
from playground.routers.base import ExampleSet, Policy, RouterOptions, router
from playground.routers.examples import folds
from playground.routers.prior import columns, into_pool

FOLDS = 5
STEPS = 100


@router(
    "linear",
    title="Linear probe",
    level="prompt",
    paper="arXiv:2502.00409",
    trained_from="example prompts; labels by gradient",
)
class LinearProbe(Policy):
    """Logits W z + b over the experts."""

    class Options(RouterOptions):
        """How the probe is fitted on examples."""

        ridge: float = Field(
            0.001, ge=0, le=10, description="Penalty on the squared weights.", json_schema_extra=fitted()
        )
        smoothing: float = Field(
            0.05,
            ge=0,
            lt=0.9,
            description="Share of an example that goes to all experts alike.",
            json_schema_extra=fitted(),
        )

    options: Options
    learns_from_labels = True

    def __init__(
        self,
        experts: Sequence[str],
        weight: Tensor,
        bias: Tensor,
        options: RouterOptions | None = None,
    ) -> None:
        super().__init__(experts, options)
        self.weight = weight.detach().clone().float().requires_grad_(True)
        self.bias = bias.detach().clone().float().requires_grad_(True)

    def parameters(self) -> list[Tensor]:
        """Return W (E, d) and b (E,)."""
        return [self.weight, self.bias]

    def log_policy(self, embeddings: Tensor) -> Tensor:
        """(N, d) -> (N, E) log pi(e|x) over `self.experts`."""
        return torch.log_softmax(embeddings.float() @ self.weight.T + self.bias, dim=-1)

    def logits(self, embedding: np.ndarray) -> np.ndarray:
        """(d,) -> (E,) float64 logits over `self.experts`."""
        weight, bias = self.weight.detach().numpy(), self.bias.detach().numpy()
        return np.asarray(weight @ np.asarray(embedding, np.float32) + bias, np.float64)

    def decide(self, ctx: Context) -> Decision:
        """Return weights (E,) by softmax of the logits; experts without a row keep their share of the prior."""
        logits = self.logits(ctx.embedding)
        where = columns(ctx, self.experts)
        weights = into_pool(ctx, where, logits)
        # an unknown expert's score is the one that would give it its weight, so the scores explain the weights
        shown = np.log(np.maximum(weights.astype(np.float64), 1e-6))
        known = where >= 0
        if known.any():
            shown[~known] += np.mean(logits[where[known]] - shown[known])
            shown[known] = logits[where[known]]
        evidence = Scores(sentence=_sentence(ctx, weights), scores=tuple(round(float(s), 4) for s in shown))
        return Decision(weights, evidence)

    @classmethod
    def from_examples(cls, examples: ExampleSet, options: RouterOptions | None = None) -> Self:
        """Return the probe fitted on `examples`, its temperature calibrated on predictions made out of fold.

        The temperature is folded into W and b, so fine-tuning starts from calibrated logits.
        """
        made = cls._fit(examples, options)
        part = folds(examples, FOLDS)
        held_out = np.zeros((len(examples), len(examples.experts)))
        for fold in range(FOLDS):
            if (part == fold).all() or not (part == fold).any():
                return made  # too few examples to hold some out
            probe = cls._fit(examples.take(part != fold), options)
            with torch.no_grad():
                held_out[part == fold] = probe.log_policy(torch.from_numpy(examples.embeddings[part == fold])).numpy()
        temperature = _calibrated(held_out, examples.answers)
        return cls(examples.experts, made.weight / temperature, made.bias / temperature, options)

    @classmethod
    def _fit(cls, examples: ExampleSet, options: RouterOptions | None = None) -> Self:
        """Cross-entropy with soft labels and ridge, by L-BFGS from zero: convex, so there is one answer."""
        count, width = len(examples.experts), examples.embeddings.shape[1]
        made = cls(examples.experts, torch.zeros(count, width), torch.zeros(count), options)
        hard = torch.nn.functional.one_hot(torch.from_numpy(examples.answers), count).float()
        smoothing = made.options.smoothing
        soft = (1 - smoothing) * hard + smoothing / count
        inputs = torch.from_numpy(np.ascontiguousarray(examples.embeddings, dtype=np.float32))
        optimiser = torch.optim.LBFGS(made.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = -(soft * made.log_policy(inputs)).sum(dim=-1).mean()
            loss = loss + made.options.ridge * made.weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        return made

    def save(self, folder: Path) -> None:
        """Write W and b."""
        tensors = {"weight": self.weight.detach().numpy(), "bias": self.bias.detach().numpy()}
        card = {"experts": list(self.experts), "options": self.options.model_dump()}
        write_router(folder, self.spec.name, card, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        card, tensors = read_router(folder, cls.spec.name, {"weight": 2, "bias": 1})
        weight, bias = torch.from_numpy(tensors["weight"]), torch.from_numpy(tensors["bias"])
        if len(weight) != len(card["experts"]) or len(bias) != len(card["experts"]):
            raise ArtefactError(f"The parameters in {folder.name} are for another number of experts.")
        return cls(card["experts"], weight, bias, cls.Options(**card["options"]))


def _calibrated(log_policy: np.ndarray, answers: np.ndarray) -> float:
    """The temperature with the lowest log loss of `log_policy` (N, E) on `answers` (N,), to 2 %."""
    grid = np.exp(np.linspace(np.log(0.05), np.log(5.0), 231))
    rows = np.arange(len(answers))
    losses = []
    for temperature in grid:
        scaled = log_policy / temperature
        losses.append((np.logaddexp.reduce(scaled, axis=1) - scaled[rows, answers]).mean())
    return float(grid[int(np.argmin(losses))])


def _sentence(ctx: Context, weights: np.ndarray) -> str:
    top = int(np.argmax(weights))
    if len(ctx.pool) == 1:
        return f"{ctx.pool.names[0]} is the only expert in the pool."
    others = np.delete(weights, top)
    second = [name for i, name in enumerate(ctx.pool.names) if i != top][int(np.argmax(others))]
    return f"{ctx.pool.names[top]} scores highest ({weights[top]:.0%}), ahead of {second} ({others.max():.0%})."
