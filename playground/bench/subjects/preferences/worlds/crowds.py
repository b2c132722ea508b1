"""People who differ: two tastes, voters who click at random or the wrong way round, and what sways them all."""

import numpy as np

from playground.bench.subjects.preferences.worlds.topics import sigmoid
from playground.learn.labels.metrics import log_loss
from playground.learn.labels.people import mixture, side_bias
from playground.learn.understanding.reliability import CrowdStrengths, crowd_strengths
from playground.learn.understanding.votes import LOSS, STYLES, WIN, Votes

POINTS = 400 / np.log(10)  # of the Elo scale for one unit of log odds
SURE = 0.9


def two_tastes(seeds: int) -> dict[str, float]:
    """Return log loss of one and of two tastes, and accuracy for a new person after four votes. 40 people, 50 votes."""
    runs = [_tastes(seed) for seed in range(seeds)]
    return _means(runs)


def _tastes(seed: int, people: int = 40, votes: int = 50) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    taste = np.where(np.arange(people) < round(0.7 * people), 1, -1)

    def drawn(person: np.ndarray, tastes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        side = rng.choice([-1.0, 1.0], len(person))
        odds = np.log(SURE / (1 - SURE)) * side * tastes[person]
        return side[:, None], (rng.random(len(person)) < sigmoid(odds)).astype(float)

    who = np.repeat(np.arange(people), votes)
    features, target = drawn(who, taste)
    asked, answer = drawn(who, taste)
    found = {}
    for count in (1, 2):
        model = mixture(features, target, who, count, seed=seed)
        p = np.clip(model.probability(asked, model.shares[who]), 1e-6, 1 - 1e-6)
        found[f"log loss, {count} taste{'s' * (count > 1)}"] = float(log_loss(np.log(p / (1 - p)), answer).mean())
    found["smaller share"] = float(model.shares.mean(axis=0).min())
    fresh = np.where(rng.random(400) < 0.7, 1, -1)
    right = []
    for person in range(len(fresh)):
        shown, said = drawn(np.full(4, person), fresh)
        later, truth = drawn(np.full(20, person), fresh)
        p = model.probability(later, model.share_of(shown, said))
        right.append(((p > 0.5) == (truth > 0.5)).mean())
    found["accuracy for a new person after 4 votes"] = float(np.mean(right))
    return found


def spammers(seeds: int) -> dict[str, float]:
    """Return what Crowd-BT makes of 20 honest, 5 random and 2 inverted people with 100 votes each."""
    return _means([_spam(seed) for seed in range(seeds)])


def _spam(seed: int, experts: int = 6, votes: int = 100) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, experts)
    honesty = np.r_[np.full(20, 1.0), np.full(5, 0.5), np.full(2, 0.0)]
    person = np.repeat(np.arange(len(honesty)), votes)
    features = _pairs(rng, len(person), experts)
    follows = rng.random(len(person)) < honesty[person]
    true = rng.random(len(person)) < sigmoid(features @ scores)
    votes_of_all = _votes(features, np.where(follows == true, WIN, LOSS), person)
    found = crowd_strengths(votes_of_all)
    clean = crowd_strengths(votes_of_all.only(person < 20))
    first, second = np.triu_indices(experts, 1)
    p = sigmoid(scores[first] - scores[second])

    def accuracy(model: CrowdStrengths) -> float:
        right = model.scores[first] > model.scores[second]
        return float(np.where(right, p, 1 - p).mean())

    weight = found.weight
    return {
        "random over honest weight": float(weight[20:25].mean() / weight[:20].mean()),
        "inverted found": float(found.is_inverted[25:].mean()),
        "honest called inverted": float(found.is_inverted[:20].mean()),
        "error of reliability": float(np.abs(found.eta - honesty).mean()),
        "accuracy": accuracy(found),
        "accuracy without spam": accuracy(clean),
    }


def side(seeds: int) -> dict[str, float]:
    """Return the bias found where the left answer has 0.3 more log odds, and the error of scores with and without it.

    20,000 votes, so that the standard error of the bias is 0.016.
    """
    runs = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        scores = rng.normal(0, 1, 6)
        features, left = _pairs(rng, 20_000, 6), rng.choice([-1.0, 1.0], 20_000)
        target = (rng.random(20_000) < sigmoid(features @ scores + 0.3 * left)).astype(float)
        bias, found = side_bias(features, target, left)
        _, ignored = side_bias(features, target, np.zeros(20_000))
        true = scores - scores.mean()
        runs.append(
            {
                "bias": bias,
                "error of scores": float(np.abs(found - found.mean() - true).mean()),
                "error of scores, bias ignored": float(np.abs(ignored - ignored.mean() - true).mean()),
            }
        )
    return _means(runs)


def style(seeds: int) -> dict[str, float]:
    """Return ratings in points of experts at 52, 17, -17 and -52, whose answers are the longer the worse they are."""
    truth = np.array([52.0, 17.0, -17.0, -52.0]) / POINTS
    runs = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        features = _pairs(rng, 6000, 4)
        longer = features @ np.array([-0.3, -0.1, 0.1, 0.3]) + rng.normal(0, 1, 6000)
        target = (rng.random(6000) < sigmoid(features @ truth + 0.5 * longer)).astype(float)
        eta, controlled = side_bias(features, target, longer)
        _, plain = side_bias(features, target, np.zeros(6000))
        error = {
            name: float(np.abs(POINTS * (found - found.mean() - truth)).max())
            for name, found in (("controlled", controlled), ("not controlled", plain))
        }
        runs.append({"pull of length": eta, **{f"largest error in points, {name}": e for name, e in error.items()}})
    return _means(runs)


def _pairs(rng: np.random.Generator, count: int, experts: int) -> np.ndarray:
    pairs = np.array([rng.choice(experts, 2, replace=False) for _ in range(count)])
    return np.asarray(np.eye(experts)[pairs[:, 0]] - np.eye(experts)[pairs[:, 1]])


def _votes(features: np.ndarray, outcome: np.ndarray, person: np.ndarray) -> Votes:
    count = len(outcome)
    names = tuple(f"expert {number}" for number in range(features.shape[1]))
    place, style, nothing = np.arange(count), np.zeros((count, len(STYLES))), np.zeros(count)
    first, second = features.argmax(axis=1), features.argmin(axis=1)
    return Votes(names, first, second, outcome, person, place, nothing, style, nothing, {})


def _means(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
