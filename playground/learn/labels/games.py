"""Find which mix of experts to serve when preferences may go in a circle: A before B before C before A.

Each is a game of the pool against itself. This module knows no labels and no policies, only arrays of preferences.
Sources: Swamy et al. (SPO), arXiv:2401.04056; Zhang et al. (GPO), arXiv:2410.02197.
"""

import numpy as np

GAME_ROUNDS = 500


def minimax_winner(wins: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (mix (E,), value): the mix that no expert beats, by linear programming.

    `wins` (E, E) is P(row beats column), with wins + wins^T = 1. Its value is then one half.
    """
    from scipy.optimize import linprog  # noqa: PLC0415  (a test and a measurement use it; a fit does not)

    count = len(wins)
    found = linprog(
        c=np.r_[np.zeros(count), -1.0],
        A_ub=np.c_[-wins.T, np.ones(count)],
        b_ub=np.zeros(count),
        A_eq=np.r_[np.ones(count), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, 1)] * count + [(None, None)],
    )
    return np.asarray(found.x[:count]), float(found.x[-1])


def self_play(wins: np.ndarray, rounds: int = GAME_ROUNDS) -> np.ndarray:
    """Return (M, E) mixes near the minimax winners of `wins` (M, E, E): the average over rounds of play against itself.

    Each round multiplies the mix by exp(eta r), where r is how often an expert beats the mix (SPO, with
    multiplicative weights). The gap to the winner is of the order of the root of ln E / rounds.
    """
    many, count = wins.shape[:2]
    eta = np.sqrt(8 * np.log(max(count, 2)) / rounds)
    score, total = np.zeros((many, count)), np.zeros((many, count))
    for _ in range(rounds):
        mix = _softmax(score)
        total += mix
        score += eta * np.einsum("mij,mj->mi", wins, mix)
    return total / rounds


def preference_rounds(odds: np.ndarray, start: np.ndarray, *, beta: float, rounds: int) -> np.ndarray:
    """Return (M, E): the average of the policies pi_{t+1} ~ pi_t exp(s / beta), where s beats pi_t.

    `odds` (M, E, E) are log odds that the row beats the column, `start` (M, E) log weights. The last policy would turn
    in circles (GPO).
    """
    log_mix, total = start.copy(), np.zeros_like(start)
    for _ in range(rounds):
        log_mix = log_mix + np.einsum("mij,mj->mi", odds, _softmax(log_mix)) / beta
        total += _softmax(log_mix)
    return total / rounds


def exploitability(mix: np.ndarray, wins: np.ndarray) -> float:
    """Return by how much the best single expert beats `mix` (E,), above one half. It is 0 for a minimax winner."""
    return float((wins @ mix).max() - 0.5)


def _softmax(score: np.ndarray) -> np.ndarray:
    raised = np.exp(score - score.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
