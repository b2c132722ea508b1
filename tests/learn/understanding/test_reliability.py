"""Reliability: against crowd-kit, and in worlds where the truth is known."""

import warnings

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene

from playground.learn.understanding.reliability import crowd_strengths, dawid_skene
from tests.learn.understanding.conftest import votes


def crowd(skills: list[float], items: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(truth, ratings): people who are right with these chances, and else give one of the other classes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 2] if classes == 2 else [0, 1, 2], items)
    wrong = 2 - truth if classes == 2 else (truth + rng.integers(1, 3, items)) % 3
    ratings = np.stack([np.where(rng.random(items) < skill, truth, wrong) for skill in skills]).astype(float)
    return truth, ratings


def test_dawid_skene_is_that_of_crowd_kit() -> None:
    """After the same number of rounds. Its own stop comes early, so it is switched off."""
    _, ratings = crowd([0.9, 0.7, 0.6, 0.8, 0.85, 0.75, 0.9], 400)
    ratings[np.random.default_rng(1).random(ratings.shape) < 0.2] = np.nan
    people, items = np.nonzero(~np.isnan(ratings))
    table = pd.DataFrame({"task": items, "worker": people, "label": ratings[people, items].astype(int)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about how crowd-kit calls it
        reference = DawidSkene(n_iter=20, tol=-np.inf).fit(table)
    found = dawid_skene(ratings, is_mirrored=False, prior=0.0, rounds=20)
    probabilities = reference.probas_.sort_index()[[0, 1, 2]].to_numpy()
    assert found.truth[np.unique(items)] == pytest.approx(probabilities, abs=1e-3)


def test_weighing_by_skill_beats_the_majority() -> None:
    """Three people of accuracy 0.9, 0.8 and 0.6: the majority reaches 0.876, following the best alone 0.900."""
    truth, ratings = crowd([0.9, 0.8, 0.6], 4000, classes=2)
    found = dawid_skene(ratings)
    majority = np.where((ratings == 0).sum(axis=0) > 1.5, 0, 2)
    assert (majority == truth).mean() == pytest.approx(0.876, abs=0.015)
    assert (found.truth.argmax(axis=1) == truth).mean() == pytest.approx(0.900, abs=0.015)
    assert found.accuracy == pytest.approx([0.9, 0.8, 0.6], abs=0.04)


def test_the_mirror_of_a_and_b_changes_nothing() -> None:
    _, ratings = crowd([0.9, 0.6, 0.7], 200)
    assert dawid_skene(2 - ratings).truth[:, ::-1] == pytest.approx(dawid_skene(ratings).truth, abs=1e-9)


def test_inverted_and_random_people_are_found() -> None:
    """Twenty honest, five random and two inverted people, 100 votes each, on four entities."""
    rng = np.random.default_rng(0)
    etas = np.array([0.9] * 20 + [0.5] * 5 + [0.1] * 2)
    scores = np.array([1.5, 0.5, -0.5, -1.5])
    people = np.repeat(np.arange(27), 100)
    first, second = np.array([rng.choice(4, 2, replace=False) for _ in people]).T
    right = rng.random(len(people)) < 1 / (1 + np.exp(scores[second] - scores[first]))
    read = rng.random(len(people)) < etas[people]
    outcome = np.where(right == read, 0, 2)
    found = crowd_strengths(votes(list(zip(first, second, outcome, strict=True)), people=people))
    assert found.is_inverted.tolist()[-2:] == [True, True]
    assert not found.is_inverted[:20].any()
    honest, noisy = found.weight[:20].mean(), found.weight[20:25].mean()
    assert noisy < 0.35 * honest
    assert np.corrcoef(found.scores, scores)[0, 1] > 0.99


def test_nobody_and_nothing() -> None:
    empty = dawid_skene(np.zeros((0, 0)))
    assert empty.truth.shape == (0, 3)
    assert crowd_strengths(votes([(0, 1, 1)])).eta.tolist() == [pytest.approx(7 / 8)]
