"""Make a board: how strong each expert, router or version is, how sure that is, and what the board hides.

Pure functions on labels: no database and no picture. A board holds totals only: nobody learns from it who was on which
side of an open comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from scipy.sparse.csgraph import connected_components

from playground.core.records import LabelRow
from playground.learn.understanding import checks
from playground.learn.understanding.strengths import ELO, Strengths, bootstrap, fit
from playground.learn.understanding.votes import STYLES, Entity, Votes, votes_of

MIN_VOTES = 10
PROVISIONAL = 30  # votes of an entity, below which its rating is shown as provisional
STEPS = 8  # points in time
MIN_CATEGORY = 20
OWN_SHARE = 0.05  # of the variance of a style, which the entities do not tell
Z95 = 1.96


@dataclass(frozen=True)
class Standing:
    """Hold one line of a board. Ratings are points around 1000; `low` and `high` are 95 % by bootstrap.

    `rank` is 1 plus the number of entities that are better beyond their intervals. `best` is the share of rounds in
    which it was first. `without_ties` and `controlled` are other ratings of the same votes; the interval of the latter
    is by the sandwich. `group` numbers the parts of the board that were never compared with each other.
    """

    name: str
    rating: float
    low: float
    high: float
    rank: int
    best: float
    without_ties: float
    controlled: float
    controlled_low: float
    controlled_high: float
    votes: int
    wins: int
    ties: int
    losses: int
    group: int

    @property
    def is_provisional(self) -> bool:
        """Return whether there are too few votes to rely on."""
        return self.votes < PROVISIONAL


@dataclass(frozen=True, eq=False)
class Board:
    """Hold the standings of one kind of entity, best first, and the checks of the votes behind them.

    `wins` and `ties` (E, E) are in the order of `standings`. `categories` gives for each category its number of votes
    and its ratings by name. `over_time` gives ratings by name from all votes up to a moment. `style` is (eta, low,
    high) of length, headers, lists and bold.
    """

    entity: Entity
    standings: tuple[Standing, ...]
    votes: int
    people: int
    prompts: int
    excluded: dict[str, int]
    wins: np.ndarray
    ties: np.ndarray
    categories: dict[str, tuple[int, dict[str, float]]]
    over_time: tuple[tuple[datetime, dict[str, float]], ...]
    style: dict[str, tuple[float, float, float]]
    ties_compared: checks.TiesCompared
    accuracy: tuple[float, float, float]
    ceiling: checks.Ceiling
    calibration: checks.Calibration
    cycles: checks.Cycles
    drift: checks.Drift
    confounding: checks.Confounding

    @property
    def groups(self) -> int:
        """Return into how many parts the board falls that no vote connects."""
        return len({standing.group for standing in self.standings})


@dataclass(frozen=True)
class TooFew:
    """Say that there are too few votes for a board, and why labels do not count."""

    entity: Entity
    votes: int
    excluded: dict[str, int]


def board_of(rows: Sequence[LabelRow], entity: Entity, *, source: str = "human", rounds: int = 300) -> Board | TooFew:
    """Return the board of `entity` from the labels of `source`, or how many votes are missing."""
    votes = votes_of(rows, entity, source=source)
    decided = len(votes.decided)
    if len(votes) < MIN_VOTES or not decided or len(np.unique(votes.prompts)) < 2:
        return TooFew(entity, len(votes), votes.excluded)
    strengths, styled = fit(votes), fit(votes, has_style=True)
    standings, order = _standings(votes, strengths, styled, rounds)
    predicted = checks.held_out(votes)
    return Board(
        entity,
        standings,
        len(votes),
        len(np.unique(votes.people)),
        len(np.unique(votes.prompts)),
        votes.excluded,
        votes.wins()[np.ix_(order, order)],
        votes.ties()[np.ix_(order, order)],
        _categories(votes),
        _over_time(votes),
        _style(votes, styled),
        checks.compare_ties(votes),
        predicted.accuracy,
        checks.ceiling([row for row in rows if row.source == source], votes),
        checks.calibration(predicted),
        checks.cycles(votes),
        checks.drift(votes),
        checks.confounding(votes, predicted),
    )


def _standings(
    votes: Votes, strengths: Strengths, styled: Strengths, rounds: int
) -> tuple[tuple[Standing, ...], np.ndarray]:
    """Return the lines, best first, and their places in the votes."""
    drawn = strengths.ratings.mean() + ELO * bootstrap(votes, rounds=rounds)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    best = np.bincount(drawn.argmax(axis=1), minlength=len(votes.names)) / rounds
    without = fit(votes, ties="without").ratings
    wins, ties = votes.wins(), votes.ties()
    _, group = connected_components(wins + wins.T + ties, directed=False)
    order = np.argsort(-strengths.ratings, kind="stable")
    lines = [
        Standing(
            votes.names[at],
            float(strengths.ratings[at]),
            float(low[at]),
            float(high[at]),
            1 + int((low > high[at]).sum()),
            float(best[at]),
            float(without[at]),
            float(styled.ratings[at]),
            float(styled.ratings[at] - Z95 * styled.errors[at]),
            float(styled.ratings[at] + Z95 * styled.errors[at]),
            int(wins[at].sum() + wins[:, at].sum() + ties[at].sum()),
            int(wins[at].sum()),
            int(ties[at].sum()),
            int(wins[:, at].sum()),
            int(group[at]),
        )
        for at in order
    ]
    return tuple(lines), order


def _ratings(votes: Votes) -> dict[str, float]:
    """Return the ratings of the entities that these votes name."""
    there = np.union1d(votes.first, votes.second)
    ratings = fit(votes).ratings
    return {votes.names[at]: float(ratings[at]) for at in there}


def _categories(votes: Votes) -> dict[str, tuple[int, dict[str, float]]]:
    """Return the ratings of each category with enough votes, the largest first."""
    names, counts = np.unique(votes.categories.astype(str), return_counts=True)
    order = [at for at in np.argsort(-counts, kind="stable") if counts[at] >= MIN_CATEGORY]
    return {str(names[at]): (int(counts[at]), _ratings(votes.only(votes.categories == names[at]))) for at in order}


def _over_time(votes: Votes) -> tuple[tuple[datetime, dict[str, float]], ...]:
    """Return the ratings after each eighth of the votes. Votes without different times give one moment."""
    if votes.time.min() == votes.time.max():
        return ((datetime.fromtimestamp(float(votes.time[0]), UTC), _ratings(votes)),)
    order = np.argsort(votes.time, kind="stable")
    ends = sorted({max(MIN_VOTES, len(order) * step // STEPS) for step in range(1, STEPS + 1)})
    return tuple(
        (datetime.fromtimestamp(float(votes.time[order[end - 1]]), UTC), _ratings(votes.only(order[:end])))
        for end in ends
    )


def _style(votes: Votes, styled: Strengths) -> dict[str, tuple[float, float, float]]:
    """Return eta of each part of the style with its interval. One standard deviation more changes the logit by eta.

    A part is left out where the entities tell it already: then votes for the style and for who has it look the same.
    """
    half = Z95 * styled.style_errors
    found = zip(STYLES, styled.style, half, strict=True)
    told = np.eye(len(votes.names))[votes.first] - np.eye(len(votes.names))[votes.second]
    rest = votes.style - told @ np.linalg.lstsq(told, votes.style, rcond=None)[0]
    varied = (rest**2).sum(axis=0) > OWN_SHARE * len(votes)  # the style has variance 1
    return {
        name: (float(eta), float(eta - width), float(eta + width))
        for (name, eta, width), is_varied in zip(found, varied, strict=True)
        if is_varied
    }
