"""Fine-tuning with the real encoder and the shipped routers: what sixty labels do, and what they leave alone."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import InvalidRequest
from playground.learn.labels import dataset
from playground.learn.labels.fitting import FitProgress, mean_kl
from playground.learn.labels.metrics import agreement, compare, log_loss
from playground.learn.labels.trainer import FineTuned, fine_tune, served_weights
from playground.routers.base import LabelSet, Policy
from playground.serving.versions import Versions
from playground.store.label_views import labelled_pairs
from playground.store.labels import create_comparison, vote
from playground.store.people import labeller
from playground.store.runs import save_run
from playground.store.tables import TrainingLabelRow, TrainingRunRow
from playground.store.versions import evaluations
from tests.learn.conftest import NAMES, World
from tests.store.conftest import make_run  # noqa: F401  (a fixture)

KINDS = [("units", "base"), ("math", "base"), ("emotion", "sentiment"), ("calculator", "math"), ("sentiment", "units")]


def run(world: World, versions: Versions, labels: LabelSet, router: str = "linear", **options: object) -> FineTuned:
    events = list(fine_tune(world.parts(versions), labels, world.probes, router=router, **options))
    assert all(isinstance(event, FitProgress) for event in events[:-1])
    assert isinstance(events[-1], FineTuned)
    return events[-1]


def weights(world: World, versions: Versions, version: str | None, router: str = "linear") -> np.ndarray:
    policy, _ = versions.load(router, version)
    assert isinstance(policy, Policy)
    return served_weights(policy, world.probes.prompts, world.probes.embeddings, world.parts(versions))


@pytest.mark.parametrize(("kind", "winner"), KINDS)
def test_sixty_labels_on_one_kind_move_that_kind_and_little_else(
    world: World, versions: Versions, kind: str, winner: str
) -> None:
    started = time.perf_counter()
    done = run(world, versions, world.labels(kind, winner))
    assert time.perf_counter() - started < 10
    accuracy = done.metrics["label_accuracy"]
    assert accuracy.before.value == 0.5
    assert accuracy.after.value >= 0.85
    assert done.metrics["log_loss"].after.value < done.metrics["log_loss"].before.value
    assert done.metrics["ranking_accuracy"].after.value > done.metrics["ranking_accuracy"].before.value
    before, after = weights(world, versions, None), weights(world, versions, done.version)
    unseen, expert = world.kinds[world.is_probe] == kind, NAMES.index(winner)
    assert after[unseen, expert].mean() > before[unseen, expert].mean() + 0.25
    drift = 0.5 * np.abs(after - before).sum(axis=1)
    assert drift[~unseen].mean() < 0.1
    assert drift[unseen].mean() > 2.5 * drift[~unseen].mean()


def test_routing_moves_no_further_than_the_cap(world: World, versions: Versions) -> None:
    import torch  # noqa: PLC0415  (only this test needs it)

    labels = world.labels("units", "base")
    for cap in (0.1, 0.5, 2.0):
        done = run(world, versions, labels, options={"cap": cap})
        old, new = versions.load("linear")[0], versions.load("linear", done.version)[0]
        assert isinstance(old, Policy)
        assert isinstance(new, Policy)
        assert mean_kl(new, old, torch.from_numpy(world.probes.embeddings)) <= cap + 1e-4
        assert done.metrics["label_accuracy"].after.value == 1.0, "how far to move is no matter of the fit"
        assert any("held to" in warning for warning in done.warnings) == (done.beta > 0.1)


def test_promote_and_roll_back_give_the_very_same_decisions(world: World, versions: Versions) -> None:
    before = weights(world, versions, None)
    done = run(world, versions, world.labels("units", "base"))
    assert weights(world, versions, None).tobytes() == before.tobytes(), "a draft changes nothing"
    versions.promote(done.version, by="ann")
    assert weights(world, versions, None).tobytes() != before.tobytes()
    versions.rollback("linear", by="ann")
    fresh = Versions(versions.database, versions.settings)
    assert weights(world, fresh, None).tobytes() == before.tobytes()


def test_the_same_labels_give_the_same_parameters(world: World, versions: Versions) -> None:
    labels = world.labels("units", "base")
    first, second = run(world, versions, labels), run(world, versions, labels)
    assert first.version != second.version
    assert weights(world, versions, first.version).tobytes() == weights(world, versions, second.version).tobytes()


def test_the_held_out_labels_are_never_learned(world: World, versions: Versions) -> None:
    """Turning every held-out verdict round changes the figures and not the parameters."""
    labels = world.labels("units", "base")
    names = dataset.groups([pair.prompt for pair in labels.pairs], labels.embeddings)
    test = set(dataset.split_by_prompt(names).test.tolist())
    turned = [
        pair if i not in test else type(pair)(**{**vars(pair), "target": 1 - pair.target})
        for i, pair in enumerate(labels.pairs)
    ]
    one, two = run(world, versions, labels), run(world, versions, LabelSet(turned, labels.embeddings))
    assert weights(world, versions, one.version).tobytes() == weights(world, versions, two.version).tobytes()
    assert (one.metrics["label_accuracy"].after.value, two.metrics["label_accuracy"].after.value) == (1.0, 0.0)


def test_a_router_that_remembers_learns_through_the_same_door(world: World, versions: Versions) -> None:
    done = run(world, versions, world.labels("calculator", "math"), router="knn")
    assert done.metrics["label_accuracy"].before.value == 0.5
    assert done.metrics["label_accuracy"].after.value >= 0.85
    before, after = (weights(world, versions, version, "knn") for version in (None, done.version))
    unseen, math = world.kinds[world.is_probe] == "calculator", NAMES.index("math")
    assert after[unseen, math].mean() > before[unseen, math].mean()
    assert 0.5 * np.abs(after - before)[~unseen].sum(axis=1).mean() < 0.1


def test_the_changes_shown_are_those_of_the_probes(world: World, versions: Versions) -> None:
    done = run(world, versions, world.labels("units", "base"))
    before, after = weights(world, versions, None), weights(world, versions, done.version)
    assert [change.moved for change in done.changed] == sorted((c.moved for c in done.changed), reverse=True)
    top = done.changed[0]
    row = world.probes.prompts.index(top.prompt)
    assert top.before.tobytes() == before[row].tobytes()
    assert top.after.tobytes() == after[row].tobytes()
    assert done.moved == int((before.argmax(axis=1) != after.argmax(axis=1)).sum())


def test_closing_cancels_and_leaves_no_version(world: World, versions: Versions) -> None:
    job = fine_tune(world.parts(versions), world.labels("units", "base"), world.probes, router="linear")
    next(job)
    with pytest.raises(InvalidRequest, match="being fine-tuned already"):
        next(fine_tune(world.parts(versions), world.labels("units", "base"), world.probes, router="linear"))
    job.close()
    assert len(versions.history("linear")) == 1
    with versions.database.read() as session:
        statuses = session.connection().exec_driver_sql("SELECT status FROM training_run").scalars().all()
    assert statuses == ["cancelled"]
    run(world, versions, world.labels("units", "base"))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_labels_are_said_plainly(world: World, versions: Versions, count: int) -> None:
    with pytest.raises(InvalidRequest, match="too few to learn from"):
        run(world, versions, world.labels("units", "base", count=count))
    assert len(versions.history("linear")) == 1


def test_ties_alone_move_nothing_and_break_nothing(world: World, versions: Versions) -> None:
    labels = world.labels("units", "base")
    ties = LabelSet([type(pair)(**{**vars(pair), "target": 0.5}) for pair in labels.pairs], labels.embeddings)
    done = run(world, versions, ties)
    assert done.metrics["label_accuracy"].after.n == 0
    assert done.kl < 1e-3


def test_wrong_settings_and_routers_are_said(world: World, versions: Versions) -> None:
    labels = world.labels("units", "base")
    with pytest.raises(InvalidRequest, match="beta"):
        run(world, versions, labels, options={"beta": -1})
    with pytest.raises(InvalidRequest, match="does not learn"):
        run(world, versions, labels, router="manual")
    with pytest.raises(InvalidRequest, match="No objective"):
        run(world, versions, labels, objective="magic")


def test_stored_votes_become_a_version_that_remembers_them(
    world: World,
    versions: Versions,
    make_run: Callable[..., list],  # noqa: F811
) -> None:
    rows = np.flatnonzero((world.kinds == "units") & ~world.is_probe)
    with versions.database.write() as session:
        me = labeller(session, "cookie")
        for i, row in enumerate(rows):
            runs = [make_run(world.prompts[row], expert=name) for name in ("base", "units")]
            for events in runs:
                save_run(session, events, prompt=world.prompts[row], sampling=Sampling(), base_model="tiny")
            first, second = (events[0].run_id for events in runs)
            comparison = create_comparison(
                session, first, second, selection="uniform", pair_propensity=0.1, left_run=(first, second)[i % 2]
            )
            vote(session, comparison, (Verdict.A, Verdict.B)[i % 2], labeller_id=me, client_token=f"t{i}")
    with versions.database.read() as session:
        labels = dataset.build(labelled_pairs(session), world.encode)
    done = run(world, versions, labels)
    with versions.database.read() as session:
        count = session.connection().exec_driver_sql("SELECT count(*) FROM training_label").scalar()
        (evaluation,) = evaluations(session, done.version)
        info = versions.history("linear")[0]
        job = session.get(TrainingRunRow, session.connection().exec_driver_sql("SELECT id FROM training_run").scalar())
        assert job is not None
        rows_of_job = [session.get(TrainingLabelRow, (job.id, pair.label_id)) for pair in labels.pairs]
        splits = {row.split for row in rows_of_job if row}
    assert count == len(rows) == done.counts["given"]
    assert splits == {"train", "valid", "test"}
    assert (job.status, job.version_id, info.id) == ("done", done.version, done.version)
    assert evaluation.metrics["label_accuracy"]["after"]["value"] == done.metrics["label_accuracy"].after.value >= 0.85


def test_figures_are_paired_and_count_ties_as_nothing() -> None:
    margin, target = np.array([2.0, -1.0, 0.0, 3.0]), np.array([0.9, 0.9, 0.9, 0.5])
    np.testing.assert_array_equal(agreement(margin, target), [1.0, 0.0, 0.5, np.nan])
    np.testing.assert_allclose(log_loss(np.zeros(4), target), np.log(2))
    groups = [f"{i // 2}" for i in range(40)]
    before = np.random.default_rng(0).random(40)
    found = compare(before, before + 0.1, np.ones(40), groups)
    assert found.gain.low == pytest.approx(found.gain.high) == pytest.approx(0.1), "paired: no spread of its own"
    assert found.before.low < found.before.value < found.before.high
    assert compare(before[:0], before[:0], before[:0], []).before.n == 0
