"""The dial and the Pareto front: closed forms, planted worlds, and aspects that are learned from labels."""

import numpy as np
import pytest

from playground.learn.aspects.dial import at_angle, averages, disagreeing, standardised, sweep, turned, unit
from playground.learn.aspects.pareto import (
    exact_front,
    following,
    hypervolume,
    mixed,
    not_dominated,
    pareto_set,
    preferences,
    raised,
    worst_corner,
)
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.learn.labels.trainer import Taught, begin_training, log_weights, train
from playground.routers.base import ROUTERS, Policy
from playground.routers.library import SHIPPED
from tests.learn.conftest import NAMES, World

ANGLES = np.linspace(0, 90, 19)
UNIFORM = np.full((200, 5), 0.2)


def planted(aspects: int, *, prompts: int = 200, experts: int = 5, clash: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return scores (N, E, K). With `clash`, the second aspect is partly the opposite of the first."""
    scores = np.random.default_rng(seed).normal(size=(prompts, experts, aspects))
    if clash:
        scores[..., 1] = -clash * scores[..., 0] + (1 - clash) * scores[..., 1]
    return standardised(scores)


# --- the dial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", [0, 1])
def test_one_aspect_alone_is_best_in_it_as_beta_falls(aspect: int) -> None:
    scores = planted(2)
    swept = sweep(UNIFORM, scores, list(ANGLES), beta=0.01)
    own = averages(turned(UNIFORM, scores, np.eye(2)[aspect], beta=0.01), scores)[aspect]
    assert own >= swept[:, aspect].max() - 1e-9
    assert own == pytest.approx(scores[..., aspect].max(axis=1).mean(), abs=0.02)


def test_only_the_direction_counts_and_its_opposite_reverses_the_order() -> None:
    scores = planted(3)
    v = np.array([0.2, -0.5, 0.9])
    assert np.allclose(turned(UNIFORM, scores, v, beta=0.5), turned(UNIFORM, scores, 7 * v, beta=0.5))
    there, back = (turned(UNIFORM, scores, sign * v, beta=0.5) for sign in (1, -1))
    assert (there.argsort(axis=1) == back.argsort(axis=1)[:, ::-1]).all()
    assert np.linalg.norm(unit(v)) == pytest.approx(1)
    for wrong in ({"direction": [0, 0, 0], "beta": 1.0}, {"direction": v, "beta": 0.0}):
        with pytest.raises(ValueError, match=r"direction|beta"):
            turned(UNIFORM, scores, **wrong)  # type: ignore[arg-type]


def test_an_expert_without_weight_gets_none() -> None:
    reference = np.tile([0.5, 0.5, 0, 0, 0], (200, 1))
    assert turned(reference, planted(2), [1, 1], beta=0.1)[:, 2:].max() == 0


def test_the_mix_moves_one_way_on_every_prompt_where_aspects_disagree() -> None:
    scores = planted(2, clash=0.6)
    mixes = [turned(UNIFORM, scores, at_angle(a), beta=1.0) for a in ANGLES]
    clashing = np.all([disagreeing(mix, scores) for mix in mixes], axis=0)
    assert 0.4 < clashing.mean() < 1
    reached = np.array([np.einsum("ne,nek->nk", mix, scores) for mix in mixes])[:, clashing]
    assert (np.diff(reached[..., 0], axis=0) < 0).all()
    assert (np.diff(reached[..., 1], axis=0) > 0).all()


def test_aspects_that_agree_are_not_called_a_choice() -> None:
    scores = planted(1).repeat(2, axis=2)
    assert not disagreeing(UNIFORM, scores).any()


def test_a_dial_over_aspects_learned_from_labels_moves_the_routed_mix(world: World) -> None:
    """Plant: for one reason the base is preferred on unit questions, for another the word problem expert is."""
    parent = ROUTERS.get("linear").load(SHIPPED / "linear")
    assert isinstance(parent, Policy)
    kind = LABEL_OBJECTIVES.get("bt")
    seen = (world.kinds == "units") & world.is_probe
    prompts = [world.prompts[i] for i in np.flatnonzero(seen)]
    vectors = world.vectors[seen]
    heads = []
    for winner in ("base", "math"):
        lesson = world.lesson(world.labels("units", winner))
        *_, taught = train(begin_training(parent, lesson), kind(kind.Options.of({"cap": 10})))
        assert isinstance(taught, Taught)
        assert taught.metrics["label_accuracy"].after.value > 0.8
        heads.append(log_weights(taught.policy, prompts, vectors, lesson))
    before = log_weights(parent, prompts, vectors, lesson)
    scores = standardised(np.stack([head - before for head in heads], axis=2))
    names = list(parent.experts)
    mixes = [turned(np.exp(before), scores, at_angle(a), beta=0.25).mean(axis=0) for a in ANGLES]
    base, math = (np.array([mix[names.index(name)] for mix in mixes]) for name in ("base", "math"))
    assert (np.diff(base) < 0).all()
    assert (np.diff(math) > 0).all()
    assert base[0] > math[0] + 0.3
    assert math[-1] > base[-1] + 0.3
    assert set(NAMES) == set(names)


# --- the front --------------------------------------------------------------------------------------------------


def test_the_front_and_the_volume_by_hand() -> None:
    points = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0], [1.0, 1.0], [2.0, 2.0]])
    assert set(not_dominated(points)) == {0, 1, 2, 4}
    assert hypervolume(points, np.zeros(2)) == pytest.approx(3 + 2 + 1)
    assert hypervolume(points, np.array([2.5, 0.0])) == pytest.approx(0.5)
    assert hypervolume(points, np.array([9.0, 9.0])) == 0
    cubes = np.array([[2.0, 2.0, 1.0], [1.0, 1.0, 3.0]])
    assert hypervolume(cubes, np.zeros(3)) == pytest.approx(4 + 2)
    assert len(preferences(2, 6)) == 6
    assert len(preferences(3, 4)) == 10
    assert np.allclose(preferences(3, 4).sum(axis=1), 1)


def test_the_volume_never_falls_when_a_member_is_added() -> None:
    points = np.random.default_rng(0).random((30, 3))
    volumes = [hypervolume(points[: i + 1], np.zeros(3)) for i in range(30)]
    assert (np.diff(volumes) >= -1e-12).all()


@pytest.mark.parametrize("seed", range(3))
def test_few_members_cover_the_exact_front_and_none_beats_another(seed: int) -> None:
    scores = planted(2, clash=0.3, seed=seed)
    found = pareto_set(scores)
    points = np.array([member.averages for member in found])
    assert 6 <= len(found) <= 11
    assert len(not_dominated(points)) == len(points)
    corner = worst_corner(scores)
    exact = hypervolume(exact_front(scores), corner)
    assert hypervolume(mixed(points), corner) >= 0.98 * exact
    assert hypervolume(points, corner) >= 0.9 * exact, "without drawing between two of them"
    assert all(np.allclose(member.weights.sum(axis=1), 1) for member in found)


def test_a_raised_aspect_keeps_the_other_where_it_was_told() -> None:
    scores = planted(2, clash=0.5)
    best = averages(following(scores, np.array([1.0, 0.0])), scores)[0]
    values = []
    for least in np.linspace(-0.5, 0.95, 6) * best:
        reached = averages(raised(scores, 1, least), scores)
        assert reached[0] >= least - 1e-9
        values.append(reached[1])
    assert (np.diff(values) <= 1e-9).all(), "a tighter constraint never helps"


def test_one_aspect_has_one_best_policy() -> None:
    scores = planted(1)
    [only] = pareto_set(scores)
    assert only.averages[0] == pytest.approx(scores[..., 0].max(axis=1).mean())


def test_a_swept_dial_covers_the_exact_front() -> None:
    scores = planted(2, clash=0.3)
    corner = worst_corner(scores)
    swept = sweep(UNIFORM, scores, list(np.linspace(0, 90, 91)), beta=0.1)
    assert hypervolume(swept, corner) >= 0.95 * hypervolume(exact_front(scores), corner)


def test_three_aspects_have_a_front_without_a_loser() -> None:
    found = pareto_set(planted(3))
    points = np.array([member.averages for member in found])
    assert len(points) == 10
    assert len(not_dominated(points)) == len(points)
