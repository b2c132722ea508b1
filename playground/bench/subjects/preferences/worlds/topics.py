"""Prompts of eight topics, in each of which six experts have scores: what labels teach, how many, and against noise."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from playground.learn.labels.design import d_optimal, information, leading_coordinates
from playground.learn.labels.fitting import Fitting, LabelBatch
from playground.learn.labels.objective import LABEL_OBJECTIVES, LabelObjective
from playground.learn.labels.strength import bands, cross_fitted
from playground.routers.prompt.linear import LinearProbe

TOPICS, EXPERTS, WIDTH, SPREAD, NOISE = 8, 6, 384, 2.0, 0.6
BATCH, CANDIDATES, QUEUE, FRESH = 25, 400, 400, 1000
BUDGETS = (50, 100, 200)
FLIPS = (0.0, 0.1)


@dataclass(frozen=True, eq=False)
class Topics:
    """Topic vectors (T, d) and true scores (T, E)."""

    vectors: np.ndarray
    scores: np.ndarray
    rng: np.random.Generator

    @classmethod
    def drawn(cls, seed: int, experts: int = EXPERTS) -> "Topics":
        """Return a world that depends on the seed alone."""
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(TOPICS, WIDTH))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(vectors, rng.normal(0, SPREAD, (TOPICS, experts)), rng)

    def prompts(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (topic (N,), embedding (N, d) of unit length)."""
        topic = self.rng.integers(TOPICS, size=count)
        x = self.vectors[topic] + self.rng.normal(0, NOISE / np.sqrt(WIDTH), (count, WIDTH))
        return topic, np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)

    def differences(self, count: int) -> np.ndarray:
        """Return (N, E) float32: one for a random expert, minus one for another."""
        experts = self.scores.shape[1]
        pairs = np.array([self.rng.choice(experts, 2, replace=False) for _ in range(count)])
        return np.asarray(np.eye(experts)[pairs[:, 0]] - np.eye(experts)[pairs[:, 1]], np.float32)

    def votes(self, topic: np.ndarray, difference: np.ndarray, flips: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return (target (N,) of 0 and 1, whether it was flipped (N,))."""
        odds = (self.scores[topic] * difference).sum(axis=1)
        won = self.rng.random(len(topic)) < sigmoid(odds)
        flipped = self.rng.random(len(topic)) < flips
        return (won ^ flipped).astype(float), flipped


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(z) / 2)))


def batch_of(x: np.ndarray, difference: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> LabelBatch:
    """Return labels for a fit from even weights."""
    experts = difference.shape[1]
    return LabelBatch(
        vectors=torch.from_numpy(x),
        difference=torch.from_numpy(difference),
        target=torch.from_numpy(target.astype(np.float32)),
        weight=torch.ones(len(x)) if weight is None else torch.from_numpy(weight.astype(np.float32)),
        reference=torch.full((len(x), experts), -float(np.log(experts))),
        group=torch.arange(len(x)),
    )


def fitting_of(rows: LabelBatch) -> Fitting:
    """Return the fit of a linear router from even weights."""
    experts, width = rows.difference.shape[1], rows.x.shape[1]
    policy = LinearProbe([str(i) for i in range(experts)], torch.zeros(experts, width), torch.zeros(experts))
    return Fitting(policy, rows, rows.take(slice(0, 0)))


def objective_of(name: str, **options: float | str) -> LabelObjective:
    """Return an objective whose scores are the change of log weights."""
    kind = LABEL_OBJECTIVES.get(name)
    return kind(kind.Options(**{"beta": 1.0, "ridge": 1.0, **options}))


def learned(rows: LabelBatch, name: str = "dpo", **options: float | str) -> tuple[Fitting, LabelObjective]:
    """Return the finished fit of an objective, and the objective."""
    fitting, objective = fitting_of(rows), objective_of(name, **options)
    for _ in objective.learn(fitting):
        pass
    return fitting, objective


def scores_of(fitting: Fitting, x: np.ndarray) -> np.ndarray:
    """Return the fitted scores (N, E)."""
    return np.asarray(fitting.moved(torch.from_numpy(x)).numpy(), float)


def gap_closed(world: Topics, scores: np.ndarray, topic: np.ndarray) -> float:
    """Return which share of the way from a random expert to the best one the highest score goes."""
    true = world.scores[topic]
    got = true[np.arange(len(topic)), scores.argmax(axis=1)].mean()
    return float((got - true.mean()) / (true.max(axis=1).mean() - true.mean()))


def pair_accuracy(world: Topics, scores: np.ndarray, topic: np.ndarray) -> float:
    """Return the expected accuracy on votes over all pairs of experts."""
    first, second = np.triu_indices(scores.shape[1], 1)
    true = world.scores[topic]
    p = sigmoid(true[:, first] - true[:, second])
    right = scores[:, first] > scores[:, second]
    return float(np.where(right, p, 1 - p).mean())


def curve(seed: int, *, active: bool, flips: float) -> dict[int, tuple[float, float]]:
    """Return (share of the gap closed, pair accuracy) after each of BUDGETS labels, in batches of 25."""
    world = Topics.drawn(seed)
    topic, x = world.prompts(QUEUE)
    asked_topic, asked = world.prompts(FRESH)
    low = leading_coordinates(x)
    rows, difference = np.zeros(0, int), np.zeros((0, EXPERTS), np.float32)
    target, found = np.zeros(0), {}
    fitting: Fitting | None = None
    while len(rows) < max(BUDGETS):
        drawn = world.rng.integers(QUEUE, size=CANDIDATES if active else BATCH)
        pairs = world.differences(len(drawn))
        if active:
            known, probability = features(low[rows], difference), np.full(len(rows), 0.5)
            chances = np.full(len(drawn), 0.5)
            if fitting is not None:
                probability = sigmoid((scores_of(fitting, x[rows]) * difference).sum(1))
                chances = sigmoid((scores_of(fitting, x[drawn]) * pairs).sum(1))
            inverse = information(known, probability, 1.0)
            best = d_optimal(features(low[drawn], pairs), chances, inverse, BATCH)
            drawn, pairs = drawn[best], pairs[best]
        votes, _ = world.votes(topic[drawn], pairs, flips)
        rows, difference, target = np.r_[rows, drawn], np.r_[difference, pairs], np.r_[target, votes]
        if active or len(rows) in BUDGETS:
            fitting, _ = learned(batch_of(x[rows], difference, target))
        if len(rows) in BUDGETS and fitting is not None:
            scores = scores_of(fitting, asked)
            found[len(rows)] = (gap_closed(world, scores, asked_topic), pair_accuracy(world, scores, asked_topic))
    return found


def features(x: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Return (N, E d): outer products of usage differences and prompts. Only for few labels and coordinates."""
    return np.asarray((difference[:, :, None] * x[:, None, :]).reshape(len(x), difference.shape[1] * x.shape[1]))


def topics(seeds: int) -> dict[str, object]:
    """Return label budgets of uniform and of D-optimal pairs, without and with 10 % flipped votes."""
    found: dict[str, object] = {}
    for flips in FLIPS:
        for name, active in (("uniform", False), ("d-optimal", True)):
            runs = [curve(seed, active=active, flips=flips) for seed in range(seeds)]
            for budget in BUDGETS:
                gap, accuracy = np.mean([run[budget] for run in runs], axis=0)
                spread = np.std([run[budget][0] for run in runs]) / np.sqrt(seeds)
                found[f"{name}, {budget} labels, {flips:.0%} flipped"] = {
                    "gap closed": round(float(gap), 3),
                    "standard error": round(float(spread), 3),
                    "pair accuracy": round(float(accuracy), 3),
                }
    return found


def noise(seeds: int) -> dict[str, float]:
    """Return how flipped votes are found by the ensemble, and what each remedy does to log loss and accuracy."""
    runs = [{**found_flips(seed), **remedies(seed)} for seed in range(seeds)]
    return {name: round(float(np.mean([run[name] for run in runs])), 3) for name in runs[0]}


def found_flips(seed: int, labels: int = 1000, flips: float = 0.1) -> dict[str, float]:
    """Return how well the ensemble finds flipped votes among `labels`, and accuracies with and without a remedy."""
    world = Topics.drawn(seed)
    topic, x = world.prompts(labels)
    difference = world.differences(labels)
    target, flipped = world.votes(topic, difference, flips)
    clean = np.where(flipped, 1 - target, target)
    rows = batch_of(x, difference, target)
    found = _drained(cross_fitted(objective_of("denoised"), fitting_of(rows), folds=5, members=10))
    towards = np.sign(target - 0.5) * found[0].numpy()
    clear = np.abs((world.scores[topic] * difference).sum(1)) > 1.5
    band = bands(rows.target, *found).numpy()
    lowest = np.argsort(towards)[: labels // 10]
    asked_topic, asked = world.prompts(FRESH)

    def accuracy(batch: LabelBatch) -> float:
        return pair_accuracy(world, scores_of(learned(batch)[0], asked), asked_topic)

    denoised = {
        action: objective_of("denoised", action=action).repaired(rows, *found)  # type: ignore[attr-defined]
        for action in ("soften", "leave out")
    }
    return {
        "roc area": roc_area(-towards, flipped),
        "roc area, clear pairs": roc_area(-towards[clear], flipped[clear]),
        "flips in the lowest tenth": float(flipped[lowest].sum() / flipped.sum()),
        "contradicted": float((band == -1).mean()),
        "flips among contradicted": float(flipped[band == -1].mean()),
        "accuracy, noisy": accuracy(rows),
        "accuracy, softened": accuracy(denoised["soften"]),
        "accuracy, left out": accuracy(denoised["leave out"]),
        "accuracy, clean": accuracy(replace(rows, target=torch.from_numpy(clean.astype(np.float32)))),
    }


def remedies(seed: int, flips: float = 0.2) -> dict[str, float]:
    """Return log loss against the true odds after learning from votes of which a fifth is flipped."""
    found = {}
    for labels in (500, 2000):
        world = Topics.drawn(seed)
        topic, x = world.prompts(labels)
        difference = world.differences(labels)
        target, flipped = world.votes(topic, difference, flips)
        clean = np.where(flipped, 1 - target, target)
        asked_topic, asked = world.prompts(FRESH)
        for name, objective, wanted in (
            ("plain", "dpo", target),
            ("conservative", "conservative", target),
            ("robust", "robust", target),
            ("clean labels", "dpo", clean),
        ):
            known = {"epsilon": flips} if objective != "dpo" else {}
            fitting, _ = learned(batch_of(x, difference, wanted), objective, **known)
            found[f"log loss, {name}, {labels} labels"] = true_loss(world, scores_of(fitting, asked), asked_topic)
    return found


def true_loss(world: Topics, scores: np.ndarray, topic: np.ndarray) -> float:
    """Return the expected log loss in nats over all pairs of experts, against the true probabilities."""
    first, second = np.triu_indices(scores.shape[1], 1)
    p = sigmoid(world.scores[topic][:, first] - world.scores[topic][:, second])
    z = scores[:, first] - scores[:, second]
    return float((p * np.logaddexp(0, -z) + (1 - p) * np.logaddexp(0, z)).mean())


def roc_area(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the share of (positive, negative) pairs in which the positive has the higher score."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    many = int(positive.sum())
    return float((rank[positive].sum() - many * (many + 1) / 2) / (many * (len(score) - many)))


def drift(seeds: int) -> dict[str, float]:
    """Return log loss after a change of taste at half-time, for votes that count the same and votes that age."""
    found: dict[str, list[float]] = {"every vote alike": [], "half-life of a quarter": []}
    for seed in range(seeds):
        before, after = Topics.drawn(seed), Topics.drawn(seed)
        after = replace(after, scores=np.random.default_rng(seed + 10_000).normal(0, SPREAD, after.scores.shape))
        labels = 1200
        topic, x = before.prompts(labels)
        difference = before.differences(labels)
        half = labels // 2
        target = np.r_[
            before.votes(topic[:half], difference[:half])[0], after.votes(topic[half:], difference[half:])[0]
        ]
        asked_topic, asked = after.prompts(FRESH)
        age = np.arange(labels)[::-1] / (labels / 4)
        for name, weight in (("every vote alike", np.ones(labels)), ("half-life of a quarter", 2.0**-age)):
            fitting, _ = learned(batch_of(x, difference, target, weight / weight.mean()))
            found[name].append(true_loss(after, scores_of(fitting, asked), asked_topic))
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}


def _drained(steps):  # type: ignore[no-untyped-def]
    """Return what a generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
