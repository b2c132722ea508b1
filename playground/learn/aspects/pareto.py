"""Find routers that no other router beats in every aspect, and say how much of the possible they cover.

J_k(pi) is the mean over prompts of sum_e pi(e|x) r_k(x, e), which is linear in pi. So the exact front of two aspects is
the hull of the policies that follow one weighted sum. Sources: C-MORL, arXiv:2410.02236, for the two stages; While and
others, "A faster algorithm for calculating hypervolume" (2006), for slicing.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from playground.learn.aspects.dial import averages

FIRST_STAGE = {1: 1, 2: 6, 3: 4}  # points on each edge of the grid of preferences, by number of aspects
EXACT_WEIGHTS = 1001
KEPT_SHARE = 0.9  # of what a member reaches in the other aspect, while the second stage raises one
BISECTIONS = 40
MOST_MEMBERS = 11


@dataclass(frozen=True, eq=False)
class ParetoMember:
    """Hold one policy: its weights (N, E) on the prompts, and the mean score (K,) of each aspect."""

    weights: np.ndarray
    averages: np.ndarray


def not_dominated(points: np.ndarray) -> np.ndarray:
    """Return the rows of `points` (M, K) that no other row beats: as good everywhere and better somewhere. O(M^2 K)."""
    as_good = np.all(points[None] >= points[:, None], axis=2)
    better = np.any(points[None] > points[:, None], axis=2)
    return np.flatnonzero(~np.any(as_good & better, axis=1))


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume (K <= 3) between `reference` (K,) and the `points` (M, K) above it. O(M^2) for K = 3."""
    above = points[(points > reference).all(axis=1)]
    if not len(above):
        return 0.0
    if points.shape[1] == 1:
        return float(above.max() - reference[0])
    levels = np.unique(above[:, -1])
    depths = np.diff(np.concatenate([reference[-1:], levels]))
    slices = [hypervolume(above[above[:, -1] >= level][:, :-1], reference[:-1]) for level in levels]
    return float(depths @ np.array(slices))


def following(scores: np.ndarray, preference: np.ndarray) -> np.ndarray:
    """Return the weights (N, E) of the policy that follows a weighted sum of the aspects, one expert a prompt."""
    best = (scores @ preference).argmax(axis=1)
    return np.eye(scores.shape[1])[best]


def preferences(aspects: int, points: int) -> np.ndarray:
    """Return a grid (P, K) on the simplex of preferences with `points` points on each edge."""
    if aspects == 1:
        return np.ones((1, 1))
    bars = combinations(range(points - 1 + aspects - 1), aspects - 1)
    grid = [np.diff([-1, *bar, points - 1 + aspects - 1]) - 1 for bar in bars]
    return np.array(grid) / (points - 1)


def exact_front(scores: np.ndarray) -> np.ndarray:
    """Return the averages (M, 2) of the policies that follow 1,001 weightings of two aspects: the ground truth."""
    shares = np.linspace(0.0, 1.0, EXACT_WEIGHTS)
    points = np.array([averages(following(scores, np.array([1 - s, s])), scores) for s in shares])
    distinct = np.unique(points.round(12), axis=0)
    return distinct[not_dominated(distinct)]


def mixed(points: np.ndarray, *, steps: int = 20) -> np.ndarray:
    """Return the points (M, 2) of a front and those of routers that draw between two neighbours: what it can reach.

    Drawing between two policies gives the same mixture of their averages, because averages are linear.
    """
    ordered = points[np.argsort(points[:, 0])]
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    between = [left + shares * (right - left) for left, right in pairwise(ordered)]
    return np.concatenate([ordered[:1], *between])


def worst_corner(scores: np.ndarray) -> np.ndarray:
    """Return the reference point (K,): in each aspect, the mean of the worst single expert."""
    return np.asarray(scores.mean(axis=0).min(axis=0))


def pareto_set(scores: np.ndarray, *, members: int = MOST_MEMBERS) -> list[ParetoMember]:
    """Return at most `members` policies of which none beats another, best in the first aspect first.

    Stage 1 follows a grid of weighted sums. With two aspects, stage 2 fills the widest gaps: it raises one aspect while
    the other keeps nine tenths of what a member reached.
    """
    grid = preferences(scores.shape[2], FIRST_STAGE[scores.shape[2]])
    found = _front([_member(following(scores, preference), scores) for preference in grid])
    for _ in range(members):
        if scores.shape[2] != 2 or len(found) >= members or len(found) < 2:
            break
        grown = _front([*found, *_fill_gap(found, scores)])
        if len(grown) <= len(found):
            break
        found = grown
    return found[:members]


def raised(scores: np.ndarray, aspect: int, least: float) -> np.ndarray:
    """Return the weights (N, E) that raise one of two aspects as far as the mean of the other stays at `least`.

    A bisection on the multiplier of the constraint. The two policies beside the last one are mixed, so the constraint
    is met exactly. When `least` cannot be reached, the policy that comes nearest is returned.
    """
    other = 1 - aspect

    def at(share: float) -> np.ndarray:
        preference = np.zeros(2)
        preference[[aspect, other]] = 1 - share, share
        return following(scores, preference)

    low, high = 0.0, 1.0
    free, safe = at(low), at(high)
    if averages(free, scores)[other] >= least:
        return free
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        tried = at(middle)
        if averages(tried, scores)[other] >= least:
            high, safe = middle, tried
        else:
            low, free = middle, tried
    reached, missed = (averages(weights, scores)[other] for weights in (safe, free))
    share = 1.0 if reached <= missed else float(np.clip((least - missed) / (reached - missed), 0.0, 1.0))
    return np.asarray(share * safe + (1 - share) * free)


def _member(weights: np.ndarray, scores: np.ndarray) -> ParetoMember:
    return ParetoMember(weights, averages(weights, scores))


def _front(members: list[ParetoMember]) -> list[ParetoMember]:
    """Return the members that no other beats, each point once, best in the first aspect first."""
    points = np.array([member.averages for member in members])
    _, once = np.unique(points.round(9), axis=0, return_index=True)
    kept = [members[i] for i in once[not_dominated(points[once])]]
    return sorted(kept, key=lambda member: -float(member.averages[0]))


def _fill_gap(found: list[ParetoMember], scores: np.ndarray) -> list[ParetoMember]:
    """Return a member in the widest gap between two neighbours, and one that raises the aspect that is poorer there."""
    points = np.array([member.averages for member in found])
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    left = int(gaps.argmax())
    middle = points[left : left + 2].mean(axis=0)
    floor = worst_corner(scores)
    kept = floor[0] + KEPT_SHARE * (points[left, 0] - floor[0])
    return [_member(raised(scores, 1, least), scores) for least in (middle[0], kept) if least > points[left + 1, 0]][:1]
