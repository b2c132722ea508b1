"""A linear probe on the prompt embedding: one weight vector per expert, through a softmax.

Source: supervised classifiers in arXiv:2502.00409, the linear case, with soft labels and a calibrated temperature. This
module knows nothing of experts but their order.
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
    """A policy with logits W z + b over the experts, for a prompt's embedding z."""

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
        """Return log pi(e|x) (N, E) over `self.experts` for embeddings (N, d)."""
        return torch.log_softmax(embeddings.float() @ self.weight.T + self.bias, dim=-1)

    def logits(self, embedding: np.ndarray) -> np.ndarray:
        """Return logits (E,) float64 over `self.experts` for an embedding (d,)."""
        weight, bias = self.weight.detach().numpy(), self.bias.detach().numpy()
        return np.asarray(weight @ np.asarray(embedding, np.float32) + bias, np.float64)

    def decide(self, ctx: Context) -> Decision:
        """Return weights (E,): the softmax of the logits. An expert without a row keeps its share of the prior."""
        logits = self.logits(ctx.embedding)
        where = columns(ctx, self.experts)
        weights = into_pool(ctx, where, logits)
        # the score shown for an unknown expert is the logit that would give it its weight
        shown = np.log(np.maximum(weights.astype(np.float64), 1e-6))
        known = where >= 0
        if known.any():
            shown[~known] += np.mean(logits[where[known]] - shown[known])
            shown[known] = logits[where[known]]
        evidence = Scores(sentence=_sentence(ctx, weights), scores=tuple(round(float(s), 4) for s in shown))
        return Decision(weights, evidence)

    @classmethod
    def from_examples(cls, examples: ExampleSet, options: RouterOptions | None = None) -> Self:
        """Return the probe fitted on `examples`. Its temperature is calibrated on predictions for held-out folds.

        W and b are divided by the temperature, so fine-tuning starts from calibrated logits.
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
        """Return the probe that minimises cross-entropy with soft labels, plus ridge, by L-BFGS from zero.

        The problem is convex, so the start does not matter. Every expert counts the same, however many examples it has:
        many greetings must not make the base likely.
        """
        count, width = len(examples.experts), examples.embeddings.shape[1]
        made = cls(examples.experts, torch.zeros(count, width), torch.zeros(count), options)
        hard = torch.nn.functional.one_hot(torch.from_numpy(examples.answers), count).float()
        smoothing = made.options.smoothing
        soft = (1 - smoothing) * hard + smoothing / count
        counted = 1 / hard.sum(dim=0)[torch.from_numpy(examples.answers)]
        counted = counted / counted.mean()
        inputs = torch.from_numpy(np.ascontiguousarray(examples.embeddings, dtype=np.float32))
        optimiser = torch.optim.LBFGS(made.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = -(counted * (soft * made.log_policy(inputs)).sum(dim=-1)).mean()
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
        """Return the probe that `save` wrote. Raise ArtefactError when the folder does not hold it."""
        card, tensors = read_router(folder, cls.spec.name, {"weight": 2, "bias": 1})
        weight, bias = torch.from_numpy(tensors["weight"]), torch.from_numpy(tensors["bias"])
        if len(weight) != len(card["experts"]) or len(bias) != len(card["experts"]):
            raise ArtefactError(f"The parameters in {folder.name} are for another number of experts.")
        return cls(card["experts"], weight, bias, cls.Options(**card["options"]))


def _calibrated(log_policy: np.ndarray, answers: np.ndarray) -> float:
    """Return the temperature with the lowest log loss of `log_policy` (N, E) on `answers` (N,), within 2 %."""
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
