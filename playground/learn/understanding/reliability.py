"""Estimate how reliable each labeller is, without knowing the right answers: Dawid-Skene and crowd Bradley-Terry.

The library crowd-kit has neither the mirror of A and B nor a prior, so both stand here. A test holds Dawid-Skene
without mirror and prior to that library.

Sources: Dawid and Skene 1979; Chen et al. 2013, "Pairwise Ranking Aggregation in a Crowdsourced Setting" (Crowd-BT).
"""

from dataclasses import dataclass

import numpy as np

from playground.learn.understanding.votes import LOSS, TIE, WIN, Votes

ROUNDS = 100
TOLERANCE = 1e-6
TINY = 1e-12
MIRROR = (2, 1, 0)  # A, tie, B seen from the other side
ETA_PRIOR = (8.0, 2.0)  # of Beta: most people read as most others do
STRENGTH_RIDGE = 0.1
INVERTED_BELOW = 0.5
LEAST_WEIGHT = 0.05


@dataclass(frozen=True, eq=False)
class Skills:
    """Hold what Dawid-Skene found. `truth` (items, 3) are chances of A, tie and B; `confusion` is (people, 3, 3).

    `accuracy` (people,) is the chance of the right verdict, over the classes as often as they are. `votes` (people,)
    says from how many labels.
    """

    truth: np.ndarray
    confusion: np.ndarray
    accuracy: np.ndarray
    votes: np.ndarray


def dawid_skene(ratings: np.ndarray, *, is_mirrored: bool = True, prior: float = 1.0, rounds: int = ROUNDS) -> Skills:
    """Return the skills of people from ratings (people, items) of 0, 1, 2 with NaN for none. By EM from the majority.

    With `is_mirrored`, a person takes A for B as often as B for A: which answer is called A is chance. `prior` times 2
    is added to the diagonal of each confusion, `prior` elsewhere. 0 gives the paper's maximum likelihood.
    """
    seen = np.stack([ratings == value for value in (WIN, TIE, LOSS)], axis=-1).astype(float)  # (R, N, 3)
    truth = seen.sum(axis=0)
    truth = truth / np.maximum(truth.sum(axis=1, keepdims=True), 1)
    confusion = np.zeros((len(ratings), 3, 3))
    for _ in range(rounds):
        counts = np.einsum("nc,rnk->rck", truth, seen) + prior * (np.ones((3, 3)) + np.eye(3)) + TINY
        shares = truth.sum(axis=0) + prior
        if is_mirrored:
            counts = counts + counts[:, MIRROR][:, :, MIRROR]
            shares = shares + shares[list(MIRROR)]
        confusion = counts / counts.sum(axis=2, keepdims=True)
        shares = shares / shares.sum()
        logits = np.log(shares + TINY) + np.einsum("rnk,rck->nc", seen, np.log(confusion))
        before, truth = truth, np.exp(logits - logits.max(axis=1, keepdims=True))
        truth = truth / truth.sum(axis=1, keepdims=True)
        if np.abs(truth - before).max(initial=0.0) < TOLERANCE:
            break
    share = truth.mean(axis=0) if len(truth) else np.full(3, 1 / 3)
    accuracy = np.einsum("c,rcc->r", share, confusion)
    return Skills(truth, confusion, accuracy, seen.sum(axis=(1, 2)).astype(int))


@dataclass(frozen=True, eq=False)
class CrowdStrengths:
    """Hold what crowd Bradley-Terry found: `scores` (E,) in nats, and `eta` (people,), the chance to read rightly.

    `eta` below one half is a reader who has it the wrong way round. It is shown, never flipped.
    """

    scores: np.ndarray
    eta: np.ndarray
    votes: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """Return (people,) the weight of each person's labels: (2 eta - 1)², at least 0.05, which the inverted have."""
        return np.where(self.is_inverted, LEAST_WEIGHT, np.clip((2 * self.eta - 1) ** 2, LEAST_WEIGHT, 1.0))

    @property
    def is_inverted(self) -> np.ndarray:
        """Return (people,) who reads the wrong way round more often than not."""
        return np.asarray(self.eta < INVERTED_BELOW)


def crowd_strengths(votes: Votes, *, rounds: int = ROUNDS) -> CrowdStrengths:
    """Return strengths and reliabilities together, from the votes that are no ties.

    P(first beats second, as person r has it) = eta_r σ(z) + (1 - eta_r) σ(-z). EM: how likely each vote was read
    rightly, then one weighted Newton step of the strengths, and eta in closed form under Beta(8, 2).
    """
    decided = votes.decided
    size, people = len(votes.names), int(votes.people.max(initial=-1)) + 1
    sign = np.where(decided.outcome == WIN, 1.0, -1.0)
    design = np.zeros((len(decided), size))
    at = np.arange(len(decided))
    design[at, decided.first] += sign
    design[at, decided.second] -= sign
    counts = np.bincount(decided.people, minlength=people)
    alpha, beta = ETA_PRIOR
    scores, eta = np.zeros(size), np.full(people, alpha / (alpha + beta))
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-(design @ scores)))
        right = eta[decided.people] * chance
        right = right / np.maximum(right + (1 - eta[decided.people]) * (1 - chance), 1e-12)
        slope = design.T @ (chance - right) + STRENGTH_RIDGE * scores
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + STRENGTH_RIDGE * np.eye(size)
        step = np.linalg.solve(bend, slope)
        scores = scores - step * min(1.0, 1.0 / max(float(np.abs(step).max(initial=0.0)), 1e-12))
        fresh = (np.bincount(decided.people, right, minlength=people) + alpha - 1) / (counts + alpha + beta - 2)
        moved = max(np.abs(fresh - eta).max(initial=0.0), np.abs(step).max(initial=0.0))
        eta = fresh
        if moved < TOLERANCE:
            break
    return CrowdStrengths(scores, eta, counts)
