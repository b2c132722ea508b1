"""Off-policy estimates against closed forms, and on a planted bandit whose value is known."""

import numpy as np
import pytest

from playground.learn.estimates.off_policy import LoggedRows, OffPolicyValue, mean_rewards, off_policy_value

EXPERTS = 4


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def bandit(seed: int, n: int = 2000) -> tuple[LoggedRows, float]:
    """Return logged rows of a softmax policy with 10 % uniform, and the true value of one at temperature one half.

    The model of rewards is the truth with 0.1 too much, so that the direct method is wrong.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, EXPERTS))
    truth = 1 / (1 + np.exp(-(logits + rng.normal(size=(n, EXPERTS)) / 2)))
    served = 0.9 * softmax(logits) + 0.1 / EXPERTS
    target = softmax(logits / 0.5)
    taken = (served.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    place = np.arange(n)
    reward = (rng.random(n) < truth[place, taken]).astype(float)
    rows = LoggedRows(reward, taken, served[place, taken], target, truth + 0.1, place)
    return rows, float((target * truth).sum(axis=1).mean())


def test_a_planted_bandit_is_estimated_without_bias_and_within_its_intervals() -> None:
    found: list[tuple[OffPolicyValue, float]] = []
    for seed in range(300):
        rows, value = bandit(seed)
        found.append((off_policy_value(rows), value))
    for name in ("ips", "snips", "doubly_robust"):
        errors = np.array([getattr(one, name).value - value for one, value in found])
        inside = np.mean([getattr(one, name).low <= value <= getattr(one, name).high for one, value in found])
        assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(errors)) + 1e-3, name
        assert 0.92 <= inside <= 0.98, name
    spread = {n: np.std([getattr(one, n).value - v for one, v in found]) for n in ("ips", "snips", "doubly_robust")}
    assert spread["snips"] < spread["ips"]
    assert spread["doubly_robust"] < spread["ips"]
    assert all(one.has_verdict and one.clipped == 0 for one, _ in found)


def test_judging_what_was_served_gives_the_mean_reward_exactly() -> None:
    rows, _ = bandit(0)
    served = np.zeros_like(rows.target)
    served[np.arange(len(rows)), rows.taken] = rows.propensity
    same = off_policy_value(LoggedRows(rows.reward, rows.taken, rows.propensity, served, rows.model, rows.cluster))
    assert same.ips.value == pytest.approx(rows.reward.mean(), abs=1e-12)
    assert same.snips.value == pytest.approx(rows.reward.mean(), abs=1e-12)
    assert same.effective == pytest.approx(len(rows))


def test_a_constant_shifts_snips_by_itself_and_a_perfect_model_gives_the_direct_value() -> None:
    rows, _ = bandit(1)
    shifted = LoggedRows(rows.reward + 0.3, rows.taken, rows.propensity, rows.target, rows.model, rows.cluster)
    assert off_policy_value(shifted).snips.value == pytest.approx(off_policy_value(rows).snips.value + 0.3)
    perfect = np.repeat(rows.reward[:, None], EXPERTS, axis=1)
    known = LoggedRows(rows.reward, rows.taken, rows.propensity, rows.target, perfect, rows.cluster)
    assert off_policy_value(known).doubly_robust.value == pytest.approx(rows.reward.mean())


def test_by_hand() -> None:
    target = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    rows = LoggedRows(
        reward=np.array([1.0, 0.0, 1.0, 0.5]),
        taken=np.array([0, 1, 0, 1]),
        propensity=np.array([0.5, 0.5, 0.25, 1.0]),
        target=target,
        model=np.full((4, 2), 0.5),
        cluster=np.arange(4),
    )
    found = off_policy_value(rows)  # the weights are 2, 0, 2, 1
    assert found.ips.value == pytest.approx((2 + 0 + 2 + 0.5) / 4)
    assert found.snips.value == pytest.approx(4.5 / 5)
    assert found.doubly_robust.value == pytest.approx(0.5 + (2 * 0.5 + 2 * 0.5 + 0) / 4)
    assert found.effective == pytest.approx(25 / 9)
    assert not found.has_verdict
    spread = np.array([2, 0, 2, 0.5]).std(ddof=1) / 2
    assert found.ips.high - found.ips.value == pytest.approx(1.96 * spread)


def test_rows_without_a_propensity_are_counted_and_left_out_and_large_weights_clipped() -> None:
    rows, _ = bandit(2, n=100)
    holes = rows.propensity.copy()
    holes[:3] = [0.0, np.nan, 1.5]
    holes[3], rows.target[3] = 1e-6, np.eye(EXPERTS)[rows.taken[3]]
    found = off_policy_value(LoggedRows(rows.reward, rows.taken, holes, rows.target, rows.model, rows.cluster))
    assert (found.rows, found.rejected, found.clipped) == (97, 3, pytest.approx(1 / 97))
    nothing = off_policy_value(LoggedRows(*(one[:0] for one in vars(rows).values())))
    assert (nothing.rows, nothing.has_verdict, nothing.effective) == (0, False, 0.0)


def test_labels_of_one_person_widen_the_interval() -> None:
    rows, _ = bandit(3)
    twice = LoggedRows(*(np.repeat(one, 2, axis=0) for one in vars(rows).values()))
    apart = LoggedRows(**{**vars(twice), "cluster": np.arange(len(twice))})
    honest, plain = off_policy_value(rows).ips, off_policy_value(twice).ips
    assert plain.high - plain.low == pytest.approx(honest.high - honest.low, rel=1e-6)
    assert off_policy_value(apart).ips.high < plain.high


def test_no_row_predicts_itself() -> None:
    taken, reward = np.zeros(50, int), np.zeros(50)
    reward[0] = 1.0
    found = mean_rewards(reward, taken, [str(i) for i in range(50)], 2)
    assert found.shape == (50, 2)
    assert found[0, 0] == 0.0, "the only reward is in its own fold"
    assert (found[1:, 0] > 0).sum() >= 39
