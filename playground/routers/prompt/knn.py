"""The nearest stored prompts vote for the experts that did well on them. A label is a new row.

Source: kNN baseline of RouterBench (arXiv:2403.12031) and similarity routing in arXiv:2502.00409. Outcomes are shrunk
to an even chance, not to each expert's mean: an expert that is compared often is not better on unrelated prompts. This
module knows nothing of experts but their names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from playground.core.values import Context, Decision, Evidence, Neighbours, Text
from playground.options import fitted
from playground.routers.artefact import read_router, write_router
from playground.routers.base import ExampleSet, LabelSet, Policy, RouterOptions, router
from playground.routers.prior import KAPPA, columns, cosines, into_pool

EVEN = 0.5  # the outcome of an expert of which nothing is known
SHOWN = 8  # neighbours that the evidence lists; its sentence counts all of them
SAYS_NOTHING = 0.05  # a label on usages that are closer than this (L1) says nothing about routing


@dataclass(frozen=True, eq=False)
class PromptMemory:
    """Distinct prompts and how the experts did on them.

    `embeddings` are (U, d) float16, `outcomes` (U, E) float32 in 0..1. `seen` (U, E) float32 is the evidence behind
    each outcome. It is 0 where an expert was never tried on a prompt.
    """

    prompts: tuple[str, ...]
    embeddings: np.ndarray
    outcomes: np.ndarray
    seen: np.ndarray

    def without(self, row: int) -> "PromptMemory":
        """Return the memory without the prompt at `row`."""
        keep = np.arange(len(self.prompts)) != row
        prompts = tuple(prompt for i, prompt in enumerate(self.prompts) if i != row)
        return PromptMemory(prompts, self.embeddings[keep], self.outcomes[keep], self.seen[keep])


def remember(prompts: Sequence[str], embeddings: np.ndarray, outcomes: np.ndarray, seen: np.ndarray) -> PromptMemory:
    """Return rows (N, ...) as a memory. Rows of one prompt become one, with outcomes averaged by their evidence."""
    first: dict[str, int] = {}
    where = np.array([first.setdefault(prompt, len(first)) for prompt in prompts], np.int64)
    distinct, experts = len(first), outcomes.shape[1]
    total, amount = np.zeros((distinct, experts)), np.zeros((distinct, experts))
    np.add.at(total, where, np.where(seen > 0, outcomes, 0.0) * seen)
    np.add.at(amount, where, seen)
    mean = np.divide(total, amount, out=np.zeros_like(total), where=amount > 0)
    rows = np.unique(where, return_index=True)[1]
    return PromptMemory(
        tuple(first), embeddings[rows].astype(np.float16), mean.astype(np.float32), amount.astype(np.float32)
    )


@router(
    "knn",
    title="Nearest prompts",
    level="prompt",
    paper="arXiv:2403.12031",
    trained_from="example prompts, and labels when it is fine-tuned",
)
class NearestPrompts(Policy):
    """Score each expert by its outcomes on the k nearest prompts, weighted by closeness.

    A softmax turns the scores, added to the prior's logits, into weights.
    """

    class Options(RouterOptions):
        """How neighbours vote. Leave-one-out on the examples chose `bandwidth`, `shrinkage` and `temperature`."""

        k: int = Field(32, ge=1, le=500, description="How many neighbours vote.")
        bandwidth: float = Field(0.15, gt=0, le=2, description="Distance over which a vote fades: small is fast.")
        shrinkage: float = Field(1.0, ge=0, le=10, description="How many votes an even chance counts as.")
        temperature: float = Field(0.02, gt=0, le=5, description="Softness of the weights: small is decisive.")
        label_weight: float = Field(
            2.0, gt=0, le=100, description="How many example prompts one label counts as.", json_schema_extra=fitted()
        )

    options: Options
    learns_from_labels = True

    def __init__(self, experts: Sequence[str], memory: PromptMemory, options: RouterOptions | None = None) -> None:
        super().__init__(experts, options)
        self.memory = memory
        self._vectors = memory.embeddings.astype(np.float32)
        self._has_outcome = memory.seen > 0
        self._tried: np.ndarray = np.asarray(self._has_outcome.any(axis=0))

    @classmethod
    def from_examples(cls, examples: ExampleSet, options: RouterOptions | None = None) -> Self:
        """Return the router that remembers `examples`.

        An outcome is the chance of beating another expert, as in a label. It is 1 for the expert that should answer.
        The others lose to it and draw among themselves.
        """
        count = len(examples.experts)
        drawn = (count - 2) / (2 * (count - 1)) if count > 1 else 0.0
        outcomes = np.where(np.eye(count)[examples.answers] > 0, 1.0, drawn).astype(np.float32)
        memory = remember(examples.prompts, examples.embeddings, outcomes, np.ones_like(outcomes))
        return cls(examples.experts, memory, options)

    def decide(self, ctx: Context) -> Decision:
        """Return weights (E,): the softmax of scores / temperature plus the prior's logits. It takes O(N d)."""
        where = columns(ctx, self.experts)
        where = np.where((where >= 0) & self._tried[where], where, -1)
        near, closeness, similarity = self.nearest(ctx.embedding, where[where >= 0])
        scores, votes = self._scores(near, closeness)
        known = where >= 0
        logits = np.zeros(len(self.experts))
        # votes are added to what the cards say, so the cards decide when no stored prompt is near
        logits[where[known]] = scores[where[known]] / self.options.temperature + KAPPA * cosines(ctx)[known]
        weights = into_pool(ctx, where, logits)
        spread = np.ones(len(ctx.pool))
        spread[known] = 1.96 * np.sqrt(0.25 / (votes[where[known]] + 1.0))
        uncertainty = np.minimum(spread * 2 * np.sqrt(weights * (1 - weights)), 1.0).astype(np.float32)
        voted = int(np.where(known, scores[where], -1.0).argmax()) if known.any() else -1
        chosen = int(weights.argmax())
        by_votes = voted == chosen
        evidence = self._evidence(near, similarity, ctx.pool.names, chosen=ctx.pool.names[chosen], by_votes=by_votes)
        return Decision(weights, evidence, uncertainty)

    def nearest(self, embedding: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the k nearest rows on which an expert of `among` was tried, their closeness, and their cosines.

        The nearest row comes first. Of equals, the older comes first. Closeness is exp((cos - 1) / bandwidth), which is
        1 for the same prompt.
        """
        cosine = np.clip(self._vectors @ np.asarray(embedding, np.float32), -1.0, 1.0)
        cosine[~self._has_outcome[:, among].any(axis=1)] = -np.inf
        # sort only what reaches the k-th value: sorting all of 50,000 rows took longer than the product
        k = min(self.options.k, len(cosine))
        reach = np.partition(cosine, -k)[-k] if k else np.inf
        reached = np.flatnonzero((cosine >= reach) & (cosine > -np.inf))
        rows = reached[np.argsort(-cosine[reached], kind="stable")[:k]]
        similarity = cosine[rows].astype(np.float64)
        return rows, np.exp((similarity - 1.0) / self.options.bandwidth), similarity

    def _scores(self, near: np.ndarray, closeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (E,) in 0..1 over `self.experts`, and the effective number of neighbours (E,) behind each."""
        share = closeness[:, None] * (self.memory.seen[near] > 0)
        total = share.sum(axis=0)
        a = self.options.shrinkage
        voted = (share * self.memory.outcomes[near]).sum(axis=0)
        scores = np.where(total + a > 0, (voted + a * EVEN) / np.maximum(total + a, 1e-30), EVEN)
        votes = np.divide(total**2, (share**2).sum(axis=0), out=np.zeros_like(total), where=total > 0)
        return scores, votes

    def _evidence(
        self, near: np.ndarray, similarity: np.ndarray, pool: Sequence[str], *, chosen: str, by_votes: bool
    ) -> Evidence:
        """Return the neighbours, and a sentence that ends with the `chosen` expert. `by_votes` says who chose it."""
        if not len(near):
            return Text("No stored prompt says which expert is better, so the experts' cards decide.")
        outcomes = np.where(self.memory.seen[near] > 0, self.memory.outcomes[near], -1.0)
        best = [self.experts[i] for i in outcomes.argmax(axis=1)]
        leader = max(dict.fromkeys(best), key=best.count)
        noun = "prompt was" if len(near) == 1 else "prompts were"
        sentence = f"{best.count(leader)} of {len(near)} similar {noun} answered best by {leader}"
        if leader not in pool:
            sentence += f", which cannot be chosen here. Of the others, {chosen} has most."
        elif leader != chosen:
            sentence += f", but {'the nearest of them' if by_votes else 'the cards'} speak for {chosen}."
        else:
            sentence += "."
        return Neighbours(
            sentence=sentence,
            prompts=tuple(self.memory.prompts[i] for i in near[:SHOWN]),
            similarities=tuple(round(float(value), 4) for value in similarity[:SHOWN]),
            experts=tuple(best[:SHOWN]),
        )

    def absorb(self, labels: LabelSet) -> Self:
        """Return a copy with a row for each label: outcome `target` for A's experts, and 1 - `target` for B's.

        A label on a remembered prompt joins the row of that prompt. Experts that only labels name are added at the end.
        """
        named = [name for pair in labels.pairs for name in pair.experts]
        experts = tuple(dict.fromkeys((*self.experts, *named)))
        more = ((0, 0), (0, len(experts) - len(self.experts)))
        difference = labels.usage_difference(experts)
        target = labels.targets[:, None]
        outcomes = np.where(difference > 0, target, 1.0 - target).astype(np.float32)
        seen = np.abs(difference) * labels.weights[:, None] * self.options.label_weight
        telling = (np.abs(difference).sum(axis=1) >= SAYS_NOTHING) & (labels.weights > 0)
        if not telling.any():
            return type(self)(self.experts, self.memory, self.options)
        prompts = (
            *self.memory.prompts,
            *(pair.prompt for pair, keep in zip(labels.pairs, telling, strict=True) if keep),
        )
        memory = remember(
            prompts,
            np.concatenate([self.memory.embeddings, labels.embeddings[telling].astype(np.float16)]),
            np.concatenate([np.pad(self.memory.outcomes, more), outcomes[telling]]),
            np.concatenate([np.pad(self.memory.seen, more), seen[telling]]),
        )
        return type(self)(experts, memory, self.options)

    def save(self, folder: Path) -> None:
        """Write the memory. Its prompts are in `router.json`."""
        memory = self.memory
        card = {
            "experts": list(self.experts),
            "options": self.options.model_dump(),
            "prompts": list(memory.prompts),
        }
        tensors = {"embeddings": memory.embeddings, "outcomes": memory.outcomes, "seen": memory.seen}
        write_router(folder, self.spec.name, card, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the router that `save` wrote. Raise ArtefactError when the folder does not hold it."""
        card, tensors = read_router(folder, cls.spec.name, {"embeddings": 2, "outcomes": 2, "seen": 2})
        memory = PromptMemory(tuple(card["prompts"]), tensors["embeddings"], tensors["outcomes"], tensors["seen"])
        return cls(card["experts"], memory, cls.Options(**card["options"]))
