"""Choose two experts to compare, by the host's policy and what the labels say so far."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from playground.core.preferences import LabelledPair
from playground.learn.labels.belief import Belief, Space
from playground.learn.labels.pairs import PAIR_POLICIES, draw, uniform_pair
from playground.store.label_views import count_usable, labelled_pairs

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

UNIFORM = "uniform"
LEAST_LABELS = 20  # before, a policy knows nothing that uniform does not
EVERY = 10  # labels between two fits
NEWEST = 2000  # labels that a fit reads
ALONE = 0.9  # usage of an expert that wrote an answer alone


@dataclass
class _Known:
    """Keep the last fit of this process: for how many labels and which experts it was made."""

    key: tuple[object, ...] = ()
    fit: tuple[Space, Belief] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_known = _Known()


def choose(
    runtime: "Runtime", prompt: str, rng: np.random.Generator, ready: Sequence[str]
) -> tuple[str, str, float, str]:
    """Return two ready experts, the probability of this pair, and the name of the policy that drew it.

    With few labels every policy is uniform, and is stored so. Raise InvalidRequest for an unknown policy, or when fewer
    than two are ready.
    """
    name = runtime.settings.pair_policy
    policy = PAIR_POLICIES.get(name)
    fit = None if name == UNIFORM else _fit(runtime, tuple(ready))
    if fit is None or len(ready) < 2:
        return (*uniform_pair(runtime.pool, rng, ready), UNIFORM)
    space, belief = fit
    features = space.features(runtime.encoder.encode([prompt]))[0]
    first, second, propensity = draw(policy, *belief.at(features), rng)
    return ready[first], ready[second], propensity, name


def _fit(runtime: "Runtime", experts: tuple[str, ...]) -> tuple[Space, Belief] | None:
    with runtime.database.read() as session:
        labels = count_usable(session)[0]
    if labels < LEAST_LABELS:
        return None
    with _known.lock:
        key = (runtime.settings.database_address, experts, labels // EVERY)
        if _known.key != key:
            with runtime.database.read() as session:
                pairs = labelled_pairs(session)[-NEWEST:]
            _known.fit, _known.key = _fitted(runtime, pairs, experts), key
        return _known.fit


def _fitted(runtime: "Runtime", pairs: Sequence[LabelledPair], experts: tuple[str, ...]) -> tuple[Space, Belief] | None:
    """Return the fit of labels on answers that one expert wrote alone. None when they are too few."""
    rows = []
    for pair in pairs:
        sides = [pair.experts[int(usage.argmax())] for usage in (pair.usage_a, pair.usage_b)]
        alone = min(pair.usage_a.max(), pair.usage_b.max()) >= ALONE
        if alone and sides[0] != sides[1] and set(sides) <= set(experts):
            rows.append((pair.prompt, experts.index(sides[0]), experts.index(sides[1]), pair.target))
    if len(rows) < LEAST_LABELS:
        return None
    prompts, first, second, target = zip(*rows, strict=True)
    embeddings = np.asarray(runtime.encoder.encode(list(prompts)), np.float64)
    space = Space.of(embeddings)
    features = space.features(embeddings)
    ends = np.array(first), np.array(second), np.array(target)
    return space, Belief.fitted(features, *ends, experts=len(experts))
