"""Check what a board of scores hides: ties, cycles, calibration, drift, and labels that tell authors, not quality.

All of it is about votes between entities. Held-out parts are split by prompt, never by vote.

Sources: Jiang et al. 2011, "Statistical ranking and combinatorial Hodge theory" (what no score explains); Wilks 1938
(likelihood ratios); "More is Less: The Pitfalls of Multi-Model Synthetic Preference Data in DPO Safety Alignment"
(authors that can be told apart).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from playground.core.records import LabelRow
from playground.core.statistics import clustered_interval
from playground.learn.understanding.strengths import Ties, fit
from playground.learn.understanding.votes import LOSS, OUTCOMES, TIE, WIN, Votes

FOLDS = 5
BINS = 10
WAYS: tuple[Ties, ...] = ("davidson", "half", "without")
MIN_PAIR = 5  # votes of a pair, before it can be a step of a cycle that is named
TELLING = 0.75  # an author alone that names the chosen answer this often is no label on quality


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hold how votes were predicted by strengths that were fitted to other prompts. Ties are left out.

    `chance` (N,) is the predicted chance that the first one wins, `won` (N,) whether it did, `prompt` (N,) on which.
    """

    chance: np.ndarray
    won: np.ndarray
    prompt: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        """Return (N,) the log-loss in nats; 0.693 (ln 2) is chance level."""
        return np.asarray(-np.log(np.clip(np.where(self.won, self.chance, 1 - self.chance), 1e-9, 1)))

    @property
    def right(self) -> np.ndarray:
        """Return (N,) 1 for a vote that was foreseen, 0 for one that was not, one half for equal strengths."""
        return np.where(np.isclose(self.chance, 0.5), 0.5, (self.chance > 0.5) == self.won).astype(float)

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Return the share of votes that were foreseen, with its interval by bootstrap over prompts."""
        return clustered_interval(self.right.tolist(), self.prompt.tolist())


def held_out(votes: Votes, ties: Ties = "davidson", *, seed: int = 0) -> HeldOut:
    """Return the decided votes of five folds of prompts, each predicted by the strengths of the other four."""
    prompts = np.unique(votes.prompts)
    fold_of = dict(zip(np.random.default_rng(seed).permutation(prompts), np.arange(len(prompts)) % FOLDS, strict=True))
    folds = np.array([fold_of[prompt] for prompt in votes.prompts], int)
    chances = np.full(len(votes), 0.5)
    for fold in range(min(FOLDS, len(prompts))):
        test = votes.only(folds == fold)
        scores = fit(votes.only(folds != fold), ties=ties).scores
        chances[folds == fold] = 1 / (1 + np.exp(scores[test.second] - scores[test.first]))
    decided = votes.outcome != TIE
    return HeldOut(chances[decided], votes.outcome[decided] == WIN, votes.prompts[decided])


@dataclass(frozen=True)
class TiesCompared:
    """Hold the held-out log-loss of each way with ties, and the gain over leaving them out: (mean, low, high)."""

    loss: dict[str, float]
    gain: dict[str, tuple[float, float, float]]

    @property
    def sentences(self) -> list[str]:
        """Return for each way whether it predicts better than leaving ties out, with the figures."""
        told = []
        for way, words in (("davidson", "Davidson's ties"), ("half", "a tie as half a win")):
            gain, low, high = self.gain[way]
            how = "better than" if low > 0 else "worse than" if high < 0 else "as well as"
            told.append(
                f"Ratings with {words} predict held-out votes {how} ratings without ties: "
                f"{gain:+.4f} nats a vote [{low:+.4f}, {high:+.4f}]."
            )
        return told


def compare_ties(votes: Votes) -> TiesCompared:
    """Return how well each way with ties predicts the decided votes of held-out prompts."""
    predicted = {way: held_out(votes, way) for way in WAYS}
    losses = {way: found.loss for way, found in predicted.items()}
    prompts = predicted["without"].prompt.tolist()
    gains: dict[str, tuple[float, float, float]] = {
        way: clustered_interval((losses["without"] - losses[way]).tolist(), prompts) for way in WAYS[:2]
    }
    return TiesCompared({way: float(loss.mean()) for way, loss in losses.items()}, gains)


@dataclass(frozen=True)
class Calibration:
    """Hold how far predicted chances are from what happened: `error` is the mean gap over the bins, by votes.

    Each bin is (mean chance, share of wins, votes).
    """

    error: float
    brier: float
    bins: tuple[tuple[float, float, int], ...]


def calibration(predicted: HeldOut) -> Calibration:
    """Return the calibration of held-out chances, over both sides of each vote, in ten equal bins."""
    chance = np.concatenate([predicted.chance, 1 - predicted.chance])
    won = np.concatenate([predicted.won, ~predicted.won]).astype(float)
    place = np.minimum((chance * BINS).astype(int), BINS - 1)
    bins = tuple(
        (float(chance[place == b].mean()), float(won[place == b].mean()), int((place == b).sum()))
        for b in range(BINS)
        if (place == b).any()
    )
    error = sum(abs(mean - share) * count for mean, share, count in bins) / max(len(chance), 1)
    return Calibration(float(error), float(((chance - won) ** 2).mean()) if len(chance) else float("nan"), bins)


@dataclass(frozen=True)
class Cycles:
    """Hold how much of the preferences between pairs no score can explain.

    `share` is the part of Pearson's chi-square beyond chance that Bradley-Terry leaves, from 0 (a score says all) to 1
    (it says nothing). `p` is the chance of such a rest if a score said all. `worst` is the strongest cycle of three
    pairs with five votes or more, as (a, b, c, the smallest share of wins on its way): a beats b, b beats c, c beats a.
    """

    share: float
    p: float
    worst: tuple[str, str, str, float] | None


def cycles(votes: Votes) -> Cycles:
    """Return how cyclic the decided votes are: what the pairs do beyond what their scores say.

    Pearson's chi-square is 1 a pair on average however few votes a pair has, unlike the deviance.
    """
    wins = votes.wins().astype(float)
    met = np.triu(wins + wins.T, 1) > 0
    first, second = np.nonzero(met)
    won, lost = wins[first, second], wins[second, first]
    total = won + lost
    scores = fit(votes, ties="without", ridge=1e-6).scores
    free = max(len(total) - int(np.linalg.matrix_rank(_differences(first, second, len(votes.names)))), 0)
    rest = _pearson(won, total, 1 / (1 + np.exp(scores[second] - scores[first])))
    null = _pearson(won, total, np.full(len(total), 0.5))
    left, all_of_it = max(rest - free, 0.0), max(null - len(total), 0.0)
    share = min(left / all_of_it, 1.0) if all_of_it > 0 and free else 0.0
    return Cycles(share, float(chi2.sf(rest, free)) if free else 1.0, _worst(wins, votes.names))


def _differences(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(np.eye(size)[first] - np.eye(size)[second])


def _pearson(won: np.ndarray, total: np.ndarray, chance: np.ndarray) -> float:
    """Return Pearson's chi-square of the pairs' wins against `chance`."""
    return float(((won - total * chance) ** 2 / (total * chance * (1 - chance))).sum())


def _worst(wins: np.ndarray, names: Sequence[str]) -> tuple[str, str, str, float] | None:
    total = wins + wins.T
    share = np.where(total >= MIN_PAIR, wins / np.maximum(total, 1), 0.0)
    # the weakest step of each way a → b → c → a
    way = np.minimum(np.minimum(share[:, :, None], share[None, :, :]), share.T[:, None, :])
    if not way.size or way.max() <= 0.5:
        return None
    a, b, c = (int(at) for at in np.unravel_index(int(way.argmax()), way.shape))
    return names[a], names[b], names[c], float(way.max())


@dataclass(frozen=True)
class Drift:
    """Hold whether the early and the late half of the votes have one set of strengths.

    `p` is the chance of such a difference without drift. `moved` names the entity that moved most, and by how many
    points from the early to the late half.
    """

    p: float
    moved: str
    points: float


def drift(votes: Votes) -> Drift:
    """Return how the strengths differ between the early and the late half, by a likelihood-ratio test.

    Votes without different times show no drift: p is 1.
    """
    if not len(votes) or votes.time.min() == votes.time.max():
        return Drift(1.0, "", 0.0)
    order = np.argsort(votes.time, kind="stable")
    halves = [votes.only(order[: len(order) // 2]), votes.only(order[len(order) // 2 :])]
    whole, early, late = (fit(part, ridge=1e-3) for part in (votes, *halves))
    gain = 2 * (early.log_likelihood + late.log_likelihood - whole.log_likelihood)
    free = len(votes.names) - 1 + int((votes.outcome == TIE).any())
    met_early, met_late = (np.union1d(part.first, part.second) for part in halves)
    both = np.intersect1d(met_early, met_late)
    moved = late.ratings - early.ratings
    most = int(both[np.abs(moved[both]).argmax()]) if len(both) else 0
    return Drift(float(chi2.sf(max(gain, 0.0), max(free, 1))), votes.names[most], float(moved[most]))


@dataclass(frozen=True)
class Confounding:
    """Hold how often who wrote an answer tells, alone, that it was chosen: (accuracy, low, high); 0.5 is chance level.

    `by_author` looks at one answer, `by_pair` at both authors.
    """

    by_author: tuple[float, float, float]
    by_pair: tuple[float, float, float]

    @property
    def is_telling(self) -> bool:
        """Return whether training on these labels would teach who wrote, more than what is good."""
        return self.by_pair[1] > TELLING or self.by_author[1] > TELLING

    @property
    def sentence(self) -> str:
        """Return what the figures mean for training."""
        share = f"Who wrote the answers alone tells the chosen one in {self.by_pair[0]:.0%} of the votes"
        if self.is_telling:
            return f"{share}. A model trained on them can learn authors instead of quality."
        return f"{share}; 50% is chance, and from {TELLING:.0%} on a model can learn authors instead of quality."


def confounding(votes: Votes, predicted: HeldOut, *, seed: int = 0) -> Confounding:
    """Return whether chosen and rejected answers can be told apart by their authors, on held-out prompts."""
    decided = votes.decided
    fold = np.random.default_rng(seed).permutation(int(votes.prompts.max(initial=0)) + 1)[decided.prompts] % FOLDS
    chosen = np.where(decided.outcome == WIN, decided.first, decided.second)
    rejected = np.where(decided.outcome == LOSS, decided.first, decided.second)
    right = np.full(2 * len(decided), 0.5)
    for part in range(FOLDS):
        size = len(votes.names)
        up = np.bincount(chosen[fold != part], minlength=size)
        down = np.bincount(rejected[fold != part], minlength=size)
        guess = np.where(up == down, 0.5, up > down)
        right[: len(decided)][fold == part] = guess[chosen[fold == part]]
        right[len(decided) :][fold == part] = 1 - guess[rejected[fold == part]]
    both = (right[: len(decided)] + right[len(decided) :]) / 2  # one value a vote: its two answers are no two trials
    return Confounding(clustered_interval(both.tolist(), decided.prompts.tolist()), predicted.accuracy)


@dataclass(frozen=True)
class Ceiling:
    """Hold what no better score could pass: (share, low, high).

    `people` is how often a vote follows the majority of the others on the same two answers, so what people agree on.
    `pairs` is how often a vote follows the majority of its pair of entities: the best that any fixed order of each pair
    could reach on these very votes. `people` is None without repeated votes.
    """

    people: tuple[float, float, float] | None
    pairs: tuple[float, float, float] | None


def ceiling(rows: Sequence[LabelRow], votes: Votes) -> Ceiling:
    """Return the bounds on ranking accuracy, from votes that are no ties. A tied majority counts as one half."""
    wins = votes.wins()
    at = votes.decided
    won = np.where(at.outcome == WIN, wins[at.first, at.second], wins[at.second, at.first])
    lost = np.where(at.outcome == WIN, wins[at.second, at.first], wins[at.first, at.second])
    pairs = np.where(won == lost, 0.5, won > lost)
    prompts = at.prompts.tolist()
    return Ceiling(_followed(rows), clustered_interval(pairs.tolist(), prompts) if len(pairs) else None)


def _followed(rows: Sequence[LabelRow]) -> tuple[float, float, float] | None:
    items: dict[str, list[int]] = {}
    for row in rows:
        if row.verdict.choice in ("a", "b"):
            items.setdefault(row.comparison_id, []).append(1 - OUTCOMES[row.verdict.choice])
    found, clusters = [], []
    for item, signs in enumerate(items.values()):
        if len(signs) > 1:
            found += [float(np.sign((sum(signs) - sign) * sign) + 1) / 2 for sign in signs]
            clusters += [item] * len(signs)
    return clustered_interval(found, clusters) if found else None
