"""The nearest stored prompts vote for the experts that did well on them; a label is a new row.

Source: kNN baseline of RouterBench (arXiv:2403.12031) and similarity routing in arXiv:2502.00409, with outcomes shrunk
to an even chance. Shrinking to each expert's mean instead would let labels on two experts sway unrelated prompts: being
compared often is no evidence of being good at everything. Knows nothing of experts beyond their names.
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

EVEN = 0.5
SHOWN = 8  # neighbours that evidence carries; the sentence counts all
SAYS_NOTHING = 0.05  # usages closer than this (L1) say nothing about routing


@dataclass(frozen=True, eq=False)
class PromptMemory:
    """Distinct prompts and how the experts did on them.

    `embeddings` (U, d) float16, `outcomes` (U, E) float32 in 0..1, `seen` (U, E) float32: the evidence behind each
    outcome, 0 where that expert was never tried on that prompt.
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
    """Return rows (N, ...) as a memory: rows of one prompt become one, outcomes averaged by their evidence."""
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
    trained_from="example prompts; your vote counts at once",
)
class NearestPrompts(Policy):
    """Outcome of each expert on the k nearest prompts, weighted by closeness, through a softmax on top of the prior."""

    class Options(RouterOptions):
        """`bandwidth`, `shrinkage` and `temperature` defaults were chosen by leave-one-out on the example prompts."""

        k: int = Field(32, ge=1, le=500, description="How many neighbours vote.")
        bandwidth: float = Field(0.15, gt=0, le=2, description="How fast a vote fades with distance in cosine.")
        shrinkage: float = Field(1.0, ge=0, le=10, description="Votes' worth of an even chance mixed in.")
        temperature: float = Field(0.02, gt=0, le=5, description="Softness of the weights: small is decisive.")
        label_weight: float = Field(
            2.0, gt=0, le=100, description="How many example prompts one label outweighs.", json_schema_extra=fitted()
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

        Outcomes are chances of beating another expert, as a label's are: 1 for the one that should answer; the others
        lose to it and draw among themselves.
        """
        count = len(examples.experts)
        drawn = (count - 2) / (2 * (count - 1)) if count > 1 else 0.0
        outcomes = np.where(np.eye(count)[examples.answers] > 0, 1.0, drawn).astype(np.float32)
        memory = remember(examples.prompts, examples.embeddings, outcomes, np.ones_like(outcomes))
        return cls(examples.experts, memory, options)

    def decide(self, ctx: Context) -> Decision:
        """Return weights (E,): softmax of scores / temperature plus the prior's logits. One matrix product, O(N d)."""
        where = columns(ctx, self.experts)
        where = np.where((where >= 0) & self._tried[where], where, -1)
        near, closeness, similarity = self.nearest(ctx.embedding, where[where >= 0])
        scores, votes = self._scores(near, closeness)
        known = where >= 0
        logits = np.zeros(len(self.experts))
        # votes are read on top of what the cards say: with nothing near, the cards decide
        logits[where[known]] = scores[where[known]] / self.options.temperature + KAPPA * cosines(ctx)[known]
        weights = into_pool(ctx, where, logits)
        spread = np.ones(len(ctx.pool))
        spread[known] = 1.96 * np.sqrt(0.25 / (votes[where[known]] + 1.0))
        uncertainty = np.minimum(spread * 2 * np.sqrt(weights * (1 - weights)), 1.0).astype(np.float32)
        return Decision(weights, self._evidence(near, similarity, ctx.pool.names), uncertainty)

    def nearest(self, embedding: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the k nearest rows on which some expert of `among` was tried, their closeness, and their cosines.

        Nearest first; ties by age. Closeness is exp((cos - 1) / bandwidth), so 1 for the very same prompt.
        """
        cosine = np.clip(self._vectors @ np.asarray(embedding, np.float32), -1.0, 1.0)
        cosine[~self._has_outcome[:, among].any(axis=1)] = -np.inf
        # sorting only what reaches the k-th value: sorting all of 50,000 rows took longer than the product
        k = min(self.options.k, len(cosine))
        reach = np.partition(cosine, -k)[-k] if k else np.inf
        reached = np.flatnonzero((cosine >= reach) & (cosine > -np.inf))
        rows = reached[np.argsort(-cosine[reached], kind="stable")[:k]]
        similarity = cosine[rows].astype(np.float64)
        return rows, np.exp((similarity - 1.0) / self.options.bandwidth), similarity

    def _scores(self, near: np.ndarray, closeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (E,) in 0..1 over `self.experts`, and how many neighbours (E,) effectively stand behind each."""
        share = closeness[:, None] * (self.memory.seen[near] > 0)
        total = share.sum(axis=0)
        a = self.options.shrinkage
        voted = (share * self.memory.outcomes[near]).sum(axis=0)
        scores = np.where(total + a > 0, (voted + a * EVEN) / np.maximum(total + a, 1e-30), EVEN)
        votes = np.divide(total**2, (share**2).sum(axis=0), out=np.zeros_like(total), where=total > 0)
        return scores, votes

    def _evidence(self, near: np.ndarray, similarity: np.ndarray, pool: Sequence[str]) -> Evidence:
        if not len(near):
            return Text("No stored prompt tells these experts apart: the weights compare the prompt with their cards.")
        outcomes = np.where(self.memory.seen[near] > 0, self.memory.outcomes[near], -1.0)
        best = [self.experts[i] for i in outcomes.argmax(axis=1)]
        leader = max(dict.fromkeys(best), key=best.count)
        noun = "prompt was" if len(near) == 1 else "prompts were"
        sentence = f"{best.count(leader)} of {len(near)} similar {noun} answered best by {leader}"
        sentence += "." if leader in pool else ", which cannot be chosen here."
        return Neighbours(
            sentence=sentence,
            prompts=tuple(self.memory.prompts[i] for i in near[:SHOWN]),
            similarities=tuple(round(float(value), 4) for value in similarity[:SHOWN]),
            experts=tuple(best[:SHOWN]),
        )

    def absorb(self, labels: LabelSet) -> Self:
        """Return a copy with a row per label: the winner's outcome is the target, the loser's 1 - target.

        A label on a remembered prompt joins its row. Experts named only by labels are added at the end.
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
        """Write the memory; its prompts stand in `router.json`."""
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
        """Read what `save` wrote."""
        card, tensors = read_router(folder, cls.spec.name, {"embeddings": 2, "outcomes": 2, "seen": 2})
        memory = PromptMemory(tuple(card["prompts"]), tensors["embeddings"], tensors["outcomes"], tensors["seen"])
        return cls(card["experts"], memory, cls.Options(**card["options"]))
