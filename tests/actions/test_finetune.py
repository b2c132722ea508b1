"""A fine-tune with its traces: the draft, the run and its labels in the database, promoting and rolling back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlmodel import select

from playground.actions import teaching as teachings
from playground.actions.finetune import (
    DEFAULT_OBJECTIVE,
    fine_tune,
    objectives,
    option_controls,
    trainable,
)
from playground.actions.finetune_job import FineTuneJob
from playground.actions.finetune_outcome import FineTuned, as_json_object
from playground.actions.teaching import Teaching, teaching_of
from playground.core.preferences import Verdict
from playground.core.rates import Rate
from playground.core.values import Sampling
from playground.errors import InvalidRequest, TooOften
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.learn.labels.trainer import served_weights
from playground.routers.base import LabelSet, Policy
from playground.serving.versions import Versions
from playground.store.labels import create_comparison, vote
from playground.store.people import labeller
from playground.store.runs import save_run
from playground.store.tables import EvaluationRow, TrainingLabelRow, TrainingRunRow
from tests.learn.conftest import World
from tests.scripted import ScriptedRuntime, scripted
from tests.store.conftest import make_run

__all__ = ["make_run"]


class Encoder:
    """The world's encoder, with the name that a version keeps."""

    name, revision = "the test's encoder", "1"

    def __init__(self, world: World) -> None:
        self.encode = world.encode


def teaching(world: World, versions: Versions) -> Teaching:
    return Teaching(versions, world.pool, lambda: Encoder(world))  # type: ignore[return-value,arg-type]


def job(world: World, versions: Versions, labels: LabelSet, options: Mapping[str, Any] | None = None) -> FineTuneJob:
    parent, parent_id = versions.load("linear")
    kind = LABEL_OBJECTIVES.get("dpo")
    chosen, lesson = kind(kind.Options.of(options)), world.lesson(labels)
    return FineTuneJob(teaching(world, versions), parent, parent_id, chosen, gathered=lambda *_: lesson)


def run(world: World, versions: Versions, labels: LabelSet) -> FineTuned:
    *_, done = job(world, versions, labels).run()
    assert isinstance(done, FineTuned)
    return done


def weights(world: World, versions: Versions, version: str | None) -> np.ndarray:
    policy, _ = versions.load("linear", version)
    assert isinstance(policy, Policy)
    lesson = world.lesson(LabelSet((), np.zeros((0, 384), np.float32)))
    return served_weights(policy, world.probes.prompts, world.probes.embeddings, lesson)


def test_promote_and_roll_back_give_the_very_same_decisions(world: World, versions: Versions) -> None:
    before = weights(world, versions, None)
    done = run(world, versions, world.labels("units", "base"))
    assert weights(world, versions, None).tobytes() == before.tobytes(), "a draft changes nothing"
    versions.promote(done.version, by="ann")
    assert weights(world, versions, None).tobytes() != before.tobytes()
    versions.rollback("linear", by="ann")
    fresh = Versions(versions.database, versions.settings)
    assert weights(world, fresh, None).tobytes() == before.tobytes()


def test_closing_cancels_and_leaves_no_version(world: World, versions: Versions) -> None:
    labels = world.labels("units", "base")
    running = job(world, versions, labels).run()
    next(running)
    with pytest.raises(InvalidRequest, match="being fine-tuned already"):
        next(job(world, versions, labels).run())
    running.close()  # type: ignore[attr-defined]  # a generator
    assert len(versions.history("linear")) == 1
    with versions.database.read() as session:
        statuses = session.connection().exec_driver_sql("SELECT status FROM training_run").scalars().all()
    assert statuses == ["cancelled"]
    assert run(world, versions, labels).version


def test_what_cannot_be_taught_is_said_before_anything_is_loaded(world: World, versions: Versions) -> None:
    def never() -> Any:
        raise AssertionError("the encoder is not needed to see this")

    asked = replace(teaching(world, versions), load_encoder=never)
    for router, options, objective, said in (
        ("manual", {}, "dpo", "does not learn"),
        ("lora_mixer", {}, "dpo", "does not learn"),
        ("nobody", {}, "dpo", "No router"),
        ("linear", {"beta": "-1"}, "dpo", "beta"),
        ("linear", {"gamma": 1}, "dpo", "no option"),
        ("linear", {}, "magic", "No label objective"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            next(iter(fine_tune(asked, router, objective=objective, options=options)))


def test_stored_votes_become_a_version_that_remembers_them(
    world: World,
    versions: Versions,
    make_run: Callable[..., list],
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
    *progress, done = fine_tune(teaching(world, versions), "linear", options={"beta": "0.2", "cap": 1}, note="units")
    assert isinstance(done, FineTuned)
    assert progress
    shown = as_json_object(done)
    assert set(shown) == {
        *("version", "parent", "router", "metrics", "kl", "beta", "moved", "probes", "labels", "warnings", "changed")
    }
    with versions.database.read() as session:
        count = session.connection().exec_driver_sql("SELECT count(*) FROM training_label").scalar()
        evaluation = session.exec(select(EvaluationRow).where(EvaluationRow.version_id == done.version)).one()
        info = versions.history("linear")[0]
        row = session.get(TrainingRunRow, session.connection().exec_driver_sql("SELECT id FROM training_run").scalar())
        assert row is not None
        ids = session.connection().exec_driver_sql("SELECT label_id FROM training_label").scalars().all()
        splits = {session.get_one(TrainingLabelRow, (row.id, label)).split for label in ids}
    assert count == len(rows) == done.counts["given"]
    assert splits == {"train", "valid", "test"}
    assert (row.status, row.version_id, info.id, info.note) == ("done", done.version, done.version, "units")
    assert info.config == {"objective": "dpo", "options": {"beta": 0.2, "ridge": 0.1, "cap": 1.0}}
    assert info.encoder == "the test's encoder@1"
    assert evaluation.metrics["label_accuracy"]["after"]["value"] == done.metrics["label_accuracy"].after.value >= 0.85


def test_the_page_offers_what_can_be_taught_and_the_default_objective_first(
    runtime: ScriptedRuntime, tmp_path: Path
) -> None:
    loading = scripted(tmp_path / "loading")
    assert trainable(loading) == []
    assert [name for _, name in objectives(loading)] == [DEFAULT_OBJECTIVE]
    waiting = option_controls(loading, DEFAULT_OBJECTIVE)
    names = [name for _, name in trainable(runtime)]
    assert names
    assert "manual" not in names
    assert {"knn", "linear"} >= set(names)
    listed = [name for _, name in objectives(runtime)]
    assert listed[0] == DEFAULT_OBJECTIVE
    assert set(listed) == set(LABEL_OBJECTIVES)
    assert option_controls(runtime, DEFAULT_OBJECTIVE) == waiting
    assert [control["name"] for control in waiting] == ["beta", "ridge", "cap"]


def test_a_stranger_makes_few_drafts_an_hour(world: World, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachings, "_drafts", Rate(math.inf, teachings.DRAFTS_SECONDS))
    base = teaching(world, versions)
    stranger = replace(base, address="1.2.3.4", max_drafts=2)
    for _ in range(2):
        stranger.require_turn()
        stranger.count_draft()
    with pytest.raises(TooOften, match="Try again in 60 min"):
        next(fine_tune(stranger, "linear"))
    for number in range(6):
        other = replace(stranger, address=f"5.6.7.{number}")
        other.require_turn()
        other.count_draft()
    with pytest.raises(TooOften):  # all of them together made four times as many as one may
        replace(stranger, address="9.9.9.9").require_turn()
    base.require_turn()  # one's own machine


def test_only_where_strangers_come_is_anybody_a_stranger(
    runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.versions = None  # type: ignore[attr-defined]
    assert teaching_of(runtime, address="1.2.3.4").address == ""  # type: ignore[arg-type]
    monkeypatch.setenv("SPACE_ID", "me/playground")
    assert teaching_of(runtime, address="1.2.3.4").address == "1.2.3.4"  # type: ignore[arg-type]
