"""Teaching with the real encoder and the shipped routers: what sixty labels do, and what they leave alone."""

import time

import numpy as np
import pytest
import torch

from playground.errors import InvalidRequest
from playground.learn.labels import dataset
from playground.learn.labels.fitting import FitProgress, mean_kl
from playground.learn.labels.metrics import agreement, as_metrics, compare, log_loss, stored_metrics
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.learn.labels.trainer import Taught, begin_training, served_weights, train
from playground.routers.base import ROUTERS, LabelSet, Policy, Router
from playground.routers.library import SHIPPED
from tests.learn.conftest import NAMES, World

KINDS = [("units", "base"), ("math", "base"), ("emotion", "sentiment"), ("calculator", "math"), ("sentiment", "units")]


def shipped(router: str) -> Router:
    return ROUTERS.get(router).load(SHIPPED / router)


def run(world: World, labels: LabelSet, router: str = "linear", objective: str = "dpo", **options: float) -> Taught:
    kind = LABEL_OBJECTIVES.get(objective)
    training = begin_training(shipped(router), world.lesson(labels))
    events = list(train(training, kind(kind.Options.of(options))))
    assert all(isinstance(event, FitProgress) for event in events[:-1])
    assert isinstance(events[-1], Taught)
    return events[-1]


def weights(world: World, policy: Router) -> np.ndarray:
    assert isinstance(policy, Policy)
    lesson = world.lesson(LabelSet((), np.zeros((0, 384), np.float32)))
    return served_weights(policy, world.probes.prompts, world.probes.embeddings, lesson)


@pytest.mark.parametrize(("kind", "winner"), KINDS)
def test_sixty_labels_on_one_kind_move_that_kind_and_little_else(world: World, kind: str, winner: str) -> None:
    started = time.process_time()  # a busy machine does not count
    done = run(world, world.labels(kind, winner))
    assert time.process_time() - started < 20  # two cores for ten seconds
    accuracy = done.metrics["label_accuracy"]
    assert accuracy.before.value == 0.5
    assert accuracy.after.value >= 0.85
    assert done.metrics["log_loss"].after.value < done.metrics["log_loss"].before.value
    assert done.metrics["log_loss"].gain.value > 0
    assert done.metrics["ranking_accuracy"].after.value > done.metrics["ranking_accuracy"].before.value
    before, after = weights(world, shipped("linear")), weights(world, done.policy)
    unseen, expert = world.kinds[world.is_probe] == kind, NAMES.index(winner)
    assert after[unseen, expert].mean() > before[unseen, expert].mean() + 0.25
    drift = 0.5 * np.abs(after - before).sum(axis=1)
    assert drift[~unseen].mean() < 0.1
    assert drift[unseen].mean() > 2.5 * drift[~unseen].mean()


def test_routing_moves_no_further_than_the_cap(world: World) -> None:
    labels, old = world.labels("units", "base"), shipped("linear")
    for cap in (0.1, 0.5, 2.0):
        done = run(world, labels, cap=cap)
        assert isinstance(old, Policy)
        assert mean_kl(done.policy, old, torch.from_numpy(world.probes.embeddings)) <= cap + 1e-4
        assert done.kl == pytest.approx(mean_kl(done.policy, old, torch.from_numpy(world.probes.embeddings)), abs=1e-3)
        assert done.metrics["label_accuracy"].after.value == 1.0, "how far to move is no matter of the fit"
        assert any("held to" in warning for warning in done.warnings) == (done.beta > 0.1)


def test_the_same_labels_give_the_same_parameters_and_leave_the_parent_alone(world: World) -> None:
    labels, parent = world.labels("units", "base"), shipped("linear")
    before = weights(world, parent).tobytes()
    kind = LABEL_OBJECTIVES.get("dpo")
    (*_, first), (*_, second) = (train(begin_training(parent, world.lesson(labels)), kind()) for _ in range(2))
    assert isinstance(first, Taught)
    assert isinstance(second, Taught)
    assert weights(world, first.policy).tobytes() == weights(world, second.policy).tobytes()
    assert weights(world, parent).tobytes() == before


def test_the_held_out_labels_are_never_learned(world: World) -> None:
    """Turning every held-out verdict round changes the figures and not the parameters."""
    labels = world.labels("units", "base")
    names = dataset.groups([pair.prompt for pair in labels.pairs], labels.embeddings)
    test = set(dataset.split_by_prompt(names).test.tolist())
    turned = [
        pair if i not in test else type(pair)(**{**vars(pair), "target": 1 - pair.target})
        for i, pair in enumerate(labels.pairs)
    ]
    one, two = run(world, labels), run(world, LabelSet(turned, labels.embeddings))
    assert weights(world, one.policy).tobytes() == weights(world, two.policy).tobytes()
    assert (one.metrics["label_accuracy"].after.value, two.metrics["label_accuracy"].after.value) == (1.0, 0.0)


def test_a_router_that_remembers_learns_through_the_same_door(world: World) -> None:
    done = run(world, world.labels("calculator", "math"), router="knn")
    assert done.metrics["label_accuracy"].before.value == 0.5
    assert done.metrics["label_accuracy"].after.value >= 0.85
    before, after = weights(world, shipped("knn")), weights(world, done.policy)
    unseen, math = world.kinds[world.is_probe] == "calculator", NAMES.index("math")
    assert after[unseen, math].mean() > before[unseen, math].mean()
    assert 0.5 * np.abs(after - before)[~unseen].sum(axis=1).mean() < 0.1


def test_the_changes_shown_are_those_of_the_probes(world: World) -> None:
    done = run(world, world.labels("units", "base"))
    before, after = weights(world, shipped("linear")), weights(world, done.policy)
    assert [change.moved for change in done.changed] == sorted((c.moved for c in done.changed), reverse=True)
    top = done.changed[0]
    row = world.probes.prompts.index(top.prompt)
    assert top.before.tobytes() == before[row].tobytes()
    assert top.after.tobytes() == after[row].tobytes()
    assert done.moved == int((before.argmax(axis=1) != after.argmax(axis=1)).sum())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_labels_are_said_plainly(world: World, count: int) -> None:
    with pytest.raises(InvalidRequest, match="too few labels to learn from"):
        run(world, world.labels("units", "base", count=count))


def test_ties_alone_move_nothing_and_break_nothing(world: World) -> None:
    labels = world.labels("units", "base")
    ties = LabelSet([type(pair)(**{**vars(pair), "target": 0.5}) for pair in labels.pairs], labels.embeddings)
    done = run(world, ties)
    assert done.metrics["label_accuracy"].after.n == 0
    assert done.kl < 1e-3


def test_a_router_that_does_not_learn_says_so_before_labels_are_counted(world: World) -> None:
    none = world.labels("units", "base", count=0)
    with pytest.raises(InvalidRequest, match="does not learn"):
        begin_training(shipped("manual"), world.lesson(none))
    with pytest.raises(InvalidRequest, match="does not learn") as caught:
        begin_training(shipped("lora_mixer"), world.lesson(none))
    assert "routers fit lora_mixer" in caught.value.remedy


def test_figures_are_paired_and_count_ties_as_nothing() -> None:
    margin, target = np.array([2.0, -1.0, 0.0, 3.0]), np.array([0.9, 0.9, 0.9, 0.5])
    np.testing.assert_array_equal(agreement(margin, target), [1.0, 0.0, 0.5, np.nan])
    np.testing.assert_allclose(log_loss(np.zeros(4), target), np.log(2))
    groups = [f"{i // 2}" for i in range(40)]
    before = np.random.default_rng(0).random(40)
    found = compare(before, before + 0.1, np.ones(40), groups)
    assert found.gain.low == pytest.approx(found.gain.high) == pytest.approx(0.1), "paired: no spread of its own"
    assert found.before.low < found.before.value < found.before.high
    rose = compare(before, before + 0.1, np.ones(40), groups, is_loss=True)
    assert rose.gain.value == pytest.approx(-0.1), "a loss that rose is no gain"
    read = stored_metrics(as_metrics({"log_loss": rose, "label_accuracy": found}) | {"kl": 0.1})
    assert read == {"log_loss": rose, "label_accuracy": found}
    assert compare(before[:0], before[:0], before[:0], []).before.n == 0
