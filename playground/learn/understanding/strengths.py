"""Fit how strong each entity is: Bradley-Terry, with ties as Davidson has them, and with style as a nuisance.

With d = s_i - s_j + style·eta, the chances of win, tie and loss are exp(d/2), nu and exp(-d/2), divided by their sum.
Without ties this is Bradley-Terry. The fit is convex, so Newton's method finds the one optimum.

Sources: Bradley and Terry 1952; Davidson 1970, "On Extending the Bradley-Terry Model to Accommodate Ties"; style as a
nuisance as in the arena's style control, without its centring, which would depend on which side is called A.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from playground.learn.understanding.votes import STYLES, Votes

Ties = Literal["davidson", "half", "without"]
# how much a win, a tie and a loss count as each outcome
COUNTED: dict[Ties, np.ndarray] = {
    "davidson": np.eye(3),
    "half": np.array([[1.0, 0, 0], [0.5, 0, 0.5], [0, 0, 1.0]]),
    "without": np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0]]),
}
ELO = 400.0 / np.log(10.0)
CENTRE = 1000.0
RIDGE = 0.01  # of the strengths: an entity that never lost stays finite, at about 900 points after ten wins
TIE_RIDGE = 1e-4  # of log nu, which would be infinite where all votes are ties
STYLE_RIDGE = 0.5  # as the arena has it
ROUNDS = 50
TOLERANCE = 1e-9
FEW_PEOPLE = 10  # with fewer, votes are grouped by prompt: two people cannot show how people differ


@dataclass(frozen=True, eq=False)
class Strengths:
    """Hold a fit. `scores` (E,) are in nats and sum to 0, `style` (4,) is eta, `nu` is the weight of a tie.

    `covariance` (E, E) is the sandwich, clustered by person or by prompt; `style_errors` (4,) are of eta.
    """

    scores: np.ndarray
    style: np.ndarray
    nu: float
    covariance: np.ndarray
    log_likelihood: float
    style_errors: np.ndarray

    @property
    def ratings(self) -> np.ndarray:
        """Return (E,) points on the scale of Elo around 1000: 100 points more win 64 % of the decided votes."""
        return np.asarray(CENTRE + ELO * self.scores)

    @property
    def errors(self) -> np.ndarray:
        """Return (E,) the standard errors of the ratings."""
        return np.asarray(ELO * np.sqrt(np.clip(np.diag(self.covariance), 0, None)))

    def chances(self, difference: np.ndarray) -> np.ndarray:
        """Return (N, 3) the chances of win, tie and loss for differences (N,) of scores."""
        return _chances(difference, np.log(self.nu) if self.nu > 0 else -np.inf)


def fit(votes: Votes, *, ties: Ties = "davidson", has_style: bool = False, ridge: float = RIDGE) -> Strengths:
    """Return the strengths of the entities of `votes`.

    `ties`: Davidson's own chance of a tie; or half a win for each; or without the ties. Entities without votes get 0.
    """
    design, counts = _rows(votes, ties, has_style)
    solved = _newton(design, counts[None], _penalty(votes, has_style, ridge), has_ties=ties == "davidson")[0]
    split = len(votes.names)
    nu = float(np.exp(solved[-1])) if ties == "davidson" and counts[:, 1].sum() else 0.0
    log_tie = np.log(nu) if nu > 0 else -np.inf
    chances = _chances(design @ solved[:-1], log_tie)
    with np.errstate(divide="ignore", invalid="ignore"):
        told = np.where(counts > 0, counts * np.log(chances), 0.0)
    style = solved[split:-1] if has_style else np.zeros(len(STYLES))
    covariance = _sandwich(votes, design, counts, chances, _penalty(votes, has_style, ridge))
    errors = np.sqrt(np.clip(np.diag(covariance)[split:], 0, None)) if has_style else np.zeros(len(STYLES))
    return Strengths(solved[:split], style, nu, covariance[:split, :split], float(told.sum()), errors)


def bootstrap(votes: Votes, *, ties: Ties = "davidson", rounds: int = 300, seed: int = 0) -> np.ndarray:
    """Return (rounds, E) scores of fits to votes drawn anew by person, or by prompt when there are few people.

    All rounds are fitted at once. Memory is rounds times distinct pairs, and E² for each distinct pair.
    """
    design, _ = _rows(votes, ties, has_style=False)
    groups = grouping(votes)
    count = int(groups.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), rounds)  # (R, G)
    pairs, place = np.unique(design, axis=0, return_inverse=True)
    cells = place.ravel() * 3 + votes.outcome
    sums = np.stack([np.bincount(cells, draw[groups], minlength=3 * len(pairs)) for draw in draws])
    sums = sums.reshape(rounds, len(pairs), 3) @ COUNTED[ties]
    solved = _newton(pairs, sums, _penalty(votes, has_style=False, ridge=RIDGE), has_ties=ties == "davidson")
    return np.asarray(solved[:, : len(votes.names)])


def grouping(votes: Votes) -> np.ndarray:
    """Return (N,) the group of each vote: its person, or its prompt when fewer than ten people voted."""
    return votes.people if len(np.unique(votes.people)) >= FEW_PEOPLE else votes.prompts


def _rows(votes: Votes, ties: Ties, has_style: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the design (N, P) of the difference d, and (N, 3) how much each outcome counts in each vote."""
    size = len(votes.names)
    design = np.zeros((len(votes), size))
    at = np.arange(len(votes))
    design[at, votes.first] += 1.0
    design[at, votes.second] -= 1.0
    counts = COUNTED[ties][votes.outcome]
    return (np.hstack([design, votes.style]) if has_style else design), counts


def _penalty(votes: Votes, has_style: bool, ridge: float) -> np.ndarray:
    return np.array([ridge] * len(votes.names) + [STYLE_RIDGE] * (len(STYLES) if has_style else 0))


def _chances(difference: np.ndarray, log_tie: np.ndarray | float) -> np.ndarray:
    """Return (…, 3) the softmax of d/2, log nu and -d/2."""
    logits = np.stack([difference / 2, np.broadcast_to(log_tie, difference.shape), -difference / 2], axis=-1)
    logits = logits - logits.max(axis=-1, keepdims=True)
    heights = np.exp(logits)
    return np.asarray(heights / heights.sum(axis=-1, keepdims=True))


def _newton(design: np.ndarray, counts: np.ndarray, penalty: np.ndarray, *, has_ties: bool) -> np.ndarray:
    """Return (R, P + 1) the optimum of each round; the last one is log nu. `counts` is (R, K, 3), `design` (K, P).

    A step is at most 2 nats long, so that no first step overshoots.
    """
    rounds, width = len(counts), design.shape[1]
    found = np.zeros((rounds, width + 1))
    free = has_ties & (counts[:, :, 1].sum(axis=1) > 0)  # a round without ties has no nu
    found[~free, -1] = -np.inf
    for _ in range(ROUNDS):
        gradient, hessian = _slopes(design, counts, penalty, found, free)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        size = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, 2.0 / np.maximum(size, 1e-300))
        found[:, :-1] -= step[:, :-1]
        found[free, -1] -= step[free, -1]
        if size.max(initial=0.0) < TOLERANCE:
            break
    return found


def _slopes(
    design: np.ndarray, counts: np.ndarray, penalty: np.ndarray, found: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient (R, P + 1) and the Hessian (R, P + 1, P + 1) of minus the penalised log-likelihood."""
    width = design.shape[1]
    total = counts.sum(axis=2)
    chances = _chances(found[:, :-1] @ design.T, found[:, -1:])
    win, tie, loss = (chances[:, :, outcome] for outcome in range(3))
    slope = (total * (win - loss) - counts[:, :, 0] + counts[:, :, 2]) / 2
    bend = total * (win + loss - (win - loss) ** 2) / 4
    gradient = np.zeros_like(found)
    gradient[:, :width] = slope @ design + penalty * found[:, :width]
    log_tie = np.where(free, found[:, width], 0.0)
    gradient[:, width] = (total * tie - counts[:, :, 1]).sum(axis=1) + TIE_RIDGE * log_tie
    hessian = np.zeros((len(found), width + 1, width + 1))
    hessian[:, :width, :width] = _weighted(design, bend) + np.diag(penalty)
    mixed = (-total * tie * (win - loss) / 2) @ design
    hessian[:, :width, width] = hessian[:, width, :width] = mixed
    hessian[:, width, width] = np.where(free, (total * tie * (1 - tie)).sum(axis=1) + TIE_RIDGE, 1.0)
    hessian[~free, :width, width] = hessian[~free, width, :width] = 0.0
    gradient[~free, width] = 0.0
    return gradient, hessian


def _weighted(design: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Return (R, P, P) the sums over K of bend (R, K) times the outer products of the rows of the design."""
    if len(bend) == 1:
        return np.asarray((design * bend[0][:, None]).T @ design)[None]
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    return np.asarray((bend @ outer).reshape(len(bend), design.shape[1], design.shape[1]))


def _sandwich(
    votes: Votes, design: np.ndarray, counts: np.ndarray, chances: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """Return (P, P) the covariance H⁺ M H⁺, where M sums the outer products of each group's gradient."""
    if not len(votes):
        return np.zeros((design.shape[1], design.shape[1]))
    total = counts.sum(axis=1)
    win, tie, loss = chances.T
    slope = (total * (win - loss) - counts[:, 0] + counts[:, 2]) / 2
    bend = total * (win + loss - (win - loss) ** 2) / 4
    rows = slope[:, None] * design
    hessian = (design * bend[:, None]).T @ design + np.diag(np.where(penalty == STYLE_RIDGE, penalty, 0.0))
    if counts[:, 1].any():  # the weight of a tie is fitted too
        rows = np.hstack([rows, (total * tie - counts[:, 1])[:, None]])
        mixed = ((-total * tie * (win - loss) / 2) @ design)[:, None]
        corner = np.array([[(total * tie * (1 - tie)).sum()]])
        hessian = np.block([[hessian, mixed], [mixed.T, corner]])
    sums = np.zeros((int(grouping(votes).max()) + 1, rows.shape[1]))
    np.add.at(sums, grouping(votes), rows)
    inverse = np.linalg.pinv(hessian, rcond=1e-10, hermitian=True)
    width = design.shape[1]
    return np.asarray((inverse @ (sums.T @ sums) @ inverse)[:width, :width])
