"""Every registered pair policy keeps its contract: a new file in learn/labels/pair_policies gets these by itself."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from playground.errors import InvalidRequest
from playground.learn.labels.belief import Belief, Space, sigmoid
from playground.learn.labels.pair_replay import read, replayed
from playground.learn.labels.pair_trials import compared, gap_closed, planted
from playground.learn.labels.pairs import PAIR_POLICIES, UNIFORM_SHARE, all_pairs, draw
from playground.store.tables.labels import SELECTIONS

MEAN = np.array([2.0, 1.9, -1.0, -3.0])
PAIRS = all_pairs(4)


@pytest.fixture(params=list(PAIR_POLICIES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def chances(name: str, variance: float = 0.5) -> np.ndarray:
    return PAIR_POLICIES.get(name).probabilities(MEAN, variance * np.eye(4), PAIRS, np.random.default_rng(0))


def test_no_policy_is_broken_and_each_can_be_stored() -> None:
    assert PAIR_POLICIES.broken() == {}
    assert set(PAIR_POLICIES) == {"uniform", "uncertainty", "dts", "dopt", "near_tie"}
    assert set(PAIR_POLICIES) <= set(SELECTIONS)


def test_it_gives_each_pair_a_probability(name: str) -> None:
    for variance in (1e-9, 0.5, 50.0):
        found = chances(name, variance)
        assert found.shape == (6,)
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(1)


def test_the_propensity_is_how_often_a_pair_is_drawn(name: str) -> None:
    rng, policy = np.random.default_rng(1), PAIR_POLICIES.get(name)
    drawn: dict[frozenset[int], list[float]] = {}
    firsts = 0
    for _ in range(1500):
        first, second, propensity = draw(policy, MEAN, 0.5 * np.eye(4), rng)
        drawn.setdefault(frozenset((first, second)), []).append(propensity)
        firsts += first < second
    for seen in drawn.values():
        assert len(seen) / 1500 == pytest.approx(np.mean(seen), abs=0.05)
        assert min(seen) >= UNIFORM_SHARE / 6 - 1e-12
    assert 650 < firsts < 850, "sides are fair"


def test_what_each_prefers() -> None:
    assert np.ptp(chances("uniform")) == 0
    assert PAIRS[chances("dts").argmax()].tolist() == [0, 1], "the two that may be best"
    assert PAIRS[chances("near_tie").argmax()].tolist() == [0, 1]
    unsure = np.diag([0.01, 0.01, 4.0, 0.01])
    for name in ("dopt", "uncertainty"):
        found = PAIR_POLICIES.get(name).probabilities(np.zeros(4), unsure, PAIRS, np.random.default_rng(0))
        assert all(2 in PAIRS[i] for i in np.argsort(found)[-3:]), "pairs with the expert that is least known"


def test_the_belief_recovers_planted_scores_and_grows_surer() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(800, 5))
    truth = rng.normal(size=(3, 6))
    features = Space(np.zeros(5), np.eye(5)).features(points)
    first = rng.integers(3, size=800)
    second = (first + rng.integers(1, 3, size=800)) % 3
    scores = features @ truth.T
    rows = np.arange(800)
    target = (rng.random(800) < sigmoid(scores[rows, first] - scores[rows, second])).astype(float)
    few = Belief.fitted(features[:50], first[:50], second[:50], target[:50], experts=3)
    many = Belief.fitted(features, first, second, target, experts=3)
    gaps = scores - scores.mean(1, keepdims=True)
    found = many.scores(features)
    assert np.corrcoef((found - found.mean(1, keepdims=True)).ravel(), gaps.ravel())[0, 1] > 0.95
    assert np.trace(many.at(features[0])[1]) < np.trace(few.at(features[0])[1])


def test_a_planted_world_is_learned_from_its_labels() -> None:
    first = gap_closed("dts", planted(3), (25, 75), 3)
    assert 0.3 < first[1] <= 1
    assert first == gap_closed("dts", planted(3), (25, 75), 3), "a seed gives the same figures again"


def test_the_interval_of_a_difference_holds_its_mean() -> None:
    mean, low, high = compared(np.array([0.5, 0.7, 0.6, 0.9]), np.array([0.4, 0.5, 0.6, 0.5]))
    assert low < mean < high
    assert mean == pytest.approx(0.175)


def test_a_replay_uses_the_votes_there_are_and_reads_no_other_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = ["good", "fair", "poor"]
    votes = [
        {"prompt": f"p{n}", "model_a": names[i], "model_b": names[j], "winner": "a" if i < j else "b"}
        for n in range(20)
        for i, j in ((0, 1), (2, 0), (1, 2))
    ]
    file = tmp_path / "votes.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, votes)).encode()))
    found = read(file, lambda prompts: rng.normal(size=(len(prompts), 4)))
    assert (found.experts, found.rows.shape) == (3, (60, 4))
    assert replayed("uniform", found, (60,), 0)[0] == pytest.approx(1), "one model is the best everywhere"
    file.write_bytes(gzip.compress(b'{"prompt": "no models"}'))
    with pytest.raises(InvalidRequest, match="between named models"):
        read(file, lambda prompts: np.zeros((len(prompts), 4)))
