"""Choose which two experts to compare next, and know the probability of that choice.

A policy is one file in `pair_policies/`. Every policy is mixed with uniform choice, so that each pair keeps a chance
and estimates from the labels can be corrected by their propensity.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, TypeVar

import numpy as np

from playground.core.plugins import Plugins
from playground.core.values import Pool
from playground.errors import InvalidRequest

UNIFORM_SHARE = 0.2


@dataclass(frozen=True)
class PairPolicySpec:
    """Say what a policy does and when to use it. `name` is stored with each comparison."""

    name: str
    title: str
    description: str


class PairPolicy(ABC):
    """A rule that prefers some pairs of experts for a prompt."""

    spec: ClassVar[PairPolicySpec]

    @abstractmethod
    def probabilities(
        self, mean: np.ndarray, covariance: np.ndarray, pairs: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the probability (P,) of each unordered pair (P, 2) of experts, from what is known of their scores.

        `mean` (E,) and `covariance` (E, E) are of the scores of the experts for the prompt.
        """


PAIR_POLICIES: Plugins[PairPolicy] = Plugins("pair policy", "playground.learn.labels.pair_policies")
P = TypeVar("P", bound=type[PairPolicy])


def pair_policy(name: str, *, title: str, description: str) -> Callable[[P], P]:
    """Register a class as the policy `name`. `description` says when to use it. Raise ValueError for a taken name."""

    def add(cls: P) -> P:
        cls.spec = PairPolicySpec(name, title, description)
        PAIR_POLICIES.register(name, cls())
        return cls

    return add


def all_pairs(experts: int) -> np.ndarray:
    """Return every unordered pair of `experts` numbers, (P, 2)."""
    return np.array(list(combinations(range(experts), 2)), dtype=int).reshape(-1, 2)


def mixed(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities (P,) of which a fifth is spread evenly over all pairs."""
    return np.asarray((1 - UNIFORM_SHARE) * probabilities / probabilities.sum() + UNIFORM_SHARE / len(probabilities))


def draw(
    policy: PairPolicy, mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator
) -> tuple[int, int, float]:
    """Return the numbers of two experts, in random order, and the probability of this unordered pair."""
    pairs = all_pairs(len(mean))
    chances = mixed(policy.probabilities(mean, covariance, pairs, rng))
    chosen = int(rng.choice(len(pairs), p=chances))
    first, second = (int(expert) for expert in rng.permutation(pairs[chosen]))
    return first, second, float(chances[chosen])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return exp(scores) / sum (P,)."""
    shifted = np.exp(scores - scores.max())
    return np.asarray(shifted / shifted.sum())


def spread(covariance: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the variance (P,) of the difference of scores of each pair."""
    first, second = pairs.T
    return np.asarray(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second])


def uniform_pair(pool: Pool, rng: np.random.Generator, ready: Sequence[str]) -> tuple[str, str, float]:
    """Return two different ready experts of the pool in random order, and the probability of this unordered pair.

    All pairs and both orders are equally likely. With n ready experts the probability is 2 / (n (n - 1)). Raise
    InvalidRequest when fewer than two are ready.
    """
    names = [name for name in pool.names if name in set(ready)]
    if len(names) < 2:
        raise InvalidRequest("A comparison needs two experts that are ready.", "Wait for one to load.")
    first, second = rng.choice(len(names), size=2, replace=False)
    return names[first], names[second], 2.0 / (len(names) * (len(names) - 1))
