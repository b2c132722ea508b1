"""Measures of routing against closed forms and against the slow way that says the same."""

from itertools import combinations

import numpy as np
import pytest

from playground.core.route_measures import (
    AttentionMap,
    consent,
    entropy,
    first_difference,
    likeness,
    overlap,
    rollout,
    row_basis,
    shrunk,
    subspace_overlap,
    switches,
    usage_correlation,
)

RNG = np.random.default_rng(5)


def test_entropy_of_even_and_single_weights() -> None:
    even = np.full((3, 4, 5), 0.2)
    assert entropy(even) == pytest.approx(np.full((3, 4), np.log(5)))
    assert entropy(np.eye(5)) == pytest.approx(np.zeros(5))
    assert entropy(np.array([0.5, 0.5, 0.0])) == pytest.approx(np.log(2))


def test_layers_that_say_the_same_agree_wholly_and_disjoint_ones_not_at_all() -> None:
    same = np.repeat(RNG.dirichlet(np.ones(6))[None], 9, axis=0)
    assert overlap(same) == pytest.approx(1)
    assert overlap(np.eye(4)) == pytest.approx(0)
    assert overlap(np.eye(4)[:1]) == pytest.approx(1)
    # half the layers on one expert, half on another: C(2,2)*2 of C(4,2) pairs agree
    assert overlap(np.eye(2)[[0, 0, 1, 1]]) == pytest.approx(2 / 6)


def test_overlap_is_the_mean_over_pairs() -> None:
    layered = RNG.dirichlet(np.ones(7), size=(3, 11))
    slow = [np.mean([np.minimum(a, b).sum() for a, b in combinations(token, 2)]) for token in layered]
    assert overlap(layered) == pytest.approx(np.array(slow))


def test_consent_counts_layers_that_name_the_overall_expert() -> None:
    layered = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.8, 0.2]])
    assert consent(layered) == pytest.approx(0.75)
    assert consent(layered[None]).shape == (1,)


def test_switches_are_changes_of_the_heaviest() -> None:
    weights = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.7, 0.3]])
    assert switches(weights).tolist() == [False, False, True, False, True]
    assert switches(np.zeros((0, 3))).tolist() == []


def test_rollout_of_two_layers_by_hand() -> None:
    first = np.array([[[1, 0], [0.5, 0.5]], [[1, 0], [0.5, 0.5]]])
    second = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]])  # heads differ: their mean is (0.5, 0.5)
    one = np.array([[1, 0], [0.25, 0.75]])
    assert rollout([first]) == pytest.approx(one)
    assert rollout([first, second]) == pytest.approx(one @ one)


def test_rollout_stays_causal_and_sums_to_one() -> None:
    layers = []
    for _ in range(4):
        heads = np.tril(RNG.random((3, 6, 6)) + 0.01)
        layers.append(heads / heads.sum(-1, keepdims=True))
    joint = rollout(layers)
    assert joint.sum(-1) == pytest.approx(np.ones(6), abs=1e-5)
    assert np.triu(joint, 1) == pytest.approx(np.zeros((6, 6)))
    with pytest.raises(ValueError, match="at least one layer"):
        rollout([])


def test_shrinking_keeps_the_largest_of_each_block() -> None:
    image = np.zeros((2, 10, 10))
    image[1, 7, 3] = 0.8
    small = shrunk(image, 5)
    assert small.shape == (2, 5, 5)
    assert small[1, 3, 1] == 0.8
    assert small.sum() == pytest.approx(0.8)
    assert shrunk(image, 12) is image


def test_first_difference() -> None:
    assert first_difference([1, 2, 3], [1, 2, 3]) is None
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) == 2


def test_subspaces_at_a_known_angle() -> None:
    angle = 0.4
    one = np.eye(6)[:2]
    turned = np.array([[np.cos(angle), 0, np.sin(angle), 0, 0, 0], [0, np.cos(angle), 0, np.sin(angle), 0, 0]])
    assert subspace_overlap(row_basis(one), row_basis(3 * turned)) == pytest.approx(np.cos(angle) ** 2)
    assert subspace_overlap(row_basis(one), row_basis(np.eye(6)[2:4])) == pytest.approx(0)
    assert subspace_overlap(row_basis(one), row_basis(RNG.normal(size=(2, 2)) @ one)) == pytest.approx(1)
    assert row_basis(np.array([[1.0, 2], [2, 4]])).shape == (1, 2)


def test_random_subspaces_overlap_as_chance_says() -> None:
    adapters = {
        name: {str(i): (RNG.normal(size=(4, 64)), RNG.normal(size=(32, 4))) for i in range(60)} for name in "ab"
    }
    found = likeness(adapters)
    assert found.chance == pytest.approx(4 / 64)
    assert found.reading[0, 1] == pytest.approx(4 / 64, abs=0.01)
    assert abs(found.change[0, 1]) < 0.02


def test_change_is_the_cosine_of_the_products() -> None:
    (a, b), (c, d) = ((RNG.normal(size=(3, 10)), RNG.normal(size=(7, 3))) for _ in range(2))
    found = likeness({"x": {"m": (a, b)}, "y": {"m": (c, d)}, "z": {"other": (a, b)}, "minus": {"m": (a, -2 * b)}})
    one, other = (b @ a).ravel(), (d @ c).ravel()
    assert found.change[0, 1] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert found.change[0, 3] == pytest.approx(-1)
    assert found.reading[0, 3] == pytest.approx(1)
    assert np.isnan(found.reading[0, 2])
    assert np.isnan(found.change[0, 2])


def test_usage_correlation_needs_runs_in_which_both_could_answer() -> None:
    usages = np.array([[1, 0, np.nan], [0, 1, np.nan], [0.5, 0.5, 0.0], [0.8, 0.2, 0.0]])
    found = usage_correlation(usages)
    assert found[0, 1] == pytest.approx(-1)
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[0, 2])
    assert np.isnan(usage_correlation(np.zeros((0, 2)))).all()


# --- maps of long runs -----------------------------------------------------------------------------------------------


def causal(heads: int, tokens: int) -> np.ndarray:
    made = np.tril(RNG.random((heads, tokens, tokens)) + 0.01)
    return np.asarray(made / made.sum(-1, keepdims=True), np.float32)


def added(attention: np.ndarray, most: int, pieces: tuple[int, ...]) -> AttentionMap:
    found, start = AttentionMap(attention.shape[-1], most), 0
    for count in pieces:
        found.add(start, attention[:, start : start + count, : start + count])
        start += count
    return found


@pytest.mark.parametrize("pieces", [(10,), (4, 6), (1, 2, 3, 4)])
def test_a_map_of_a_short_run_is_its_attention(pieces: tuple[int, ...]) -> None:
    attention = causal(2, 10)
    found = added(attention, 16, pieces)
    assert (found.block, found.size) == (1, 10)
    assert found.result() == pytest.approx(attention)
    assert found.texts(list("abcdefghij")) == list("abcdefghij")


@pytest.mark.parametrize("pieces", [(10,), (4, 6), (1, 2, 3, 4), (7, 3)])
def test_a_cell_of_a_long_run_is_the_mean_over_askers_of_the_sum_over_what_is_seen(pieces: tuple[int, ...]) -> None:
    attention = causal(2, 10)
    found = added(attention, 4, pieces)
    assert (found.block, found.size) == (3, 4)
    slow = [[attention[:, a : a + 3, b : b + 3].sum(-1).mean(-1) for b in range(0, 10, 3)] for a in range(0, 10, 3)]
    assert found.result() == pytest.approx(np.moveaxis(np.array(slow), -1, 0), abs=1e-6)
    assert found.result().sum(-1) == pytest.approx(np.ones((2, 4)), abs=1e-5)
    assert found.texts(list("abcdefghij")) == ["abc", "def", "ghi", "j"]


def test_a_map_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no attention"):
        AttentionMap(3, 2).result()
