"""A fine-tune as a job: seen from elsewhere, ended from elsewhere, killed with its program, and taken up again."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from playground.actions.finetune import end, resumed_job
from playground.actions.finetune_job import FineTuneJob, end_job, job_state, start_job
from playground.actions.finetune_outcome import FineTuned, as_json_object, outcome_of
from playground.errors import InvalidRequest, NotPermitted
from playground.learn.labels import fitting
from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database
from playground.store.trainings import labels_of_versions
from tests.actions.test_finetune import job, teaching, weights
from tests.learn.conftest import World

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def made(world: World, versions: Versions) -> FineTuneJob:
    return job(world, versions, world.labels("units", "base"))


def slowed(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.1) -> None:
    """Let every step of a fit take a while longer."""
    fit = fitting.fit

    def slow(*given: object, **more: object) -> Iterator[fitting.FitProgress]:
        for step in fit(*given, **more):  # type: ignore[arg-type]
            time.sleep(seconds)
            yield step

    monkeypatch.setattr("playground.learn.labels.trainer.fit", slow)


def wait_for(condition: object, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_job_is_followed_from_elsewhere_and_its_outcome_is_kept(made: FineTuneJob, versions: Versions) -> None:
    assert job_state(versions, "linear") is None
    thread = start_job(made)
    elsewhere = Versions(Database.of(versions.settings), versions.settings)
    with pytest.raises(InvalidRequest, match="being fine-tuned already"):
        start_job(replace(made, id="another"))
    thread.join(30)
    found = job_state(elsewhere, "linear")
    assert found is not None
    assert (found.state, found.info.progress, found.info.labels) == ("done", 1.0, 60)
    steps = [point["step"] for point in found.info.curve]
    assert steps[:-1] == list(range(1, len(steps)))
    outcome = outcome_of(found.info.outcome)
    assert outcome is not None
    assert as_json_object(outcome) == found.info.outcome
    assert outcome.version == found.info.version == elsewhere.history("linear")[0].id
    assert not list((versions.settings.data_dir / "training").glob("*.lock"))
    elsewhere.database.close()


def test_whoever_ends_a_job_frees_the_router_at_once(
    made: FineTuneJob, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowed(monkeypatch)
    thread = start_job(made)
    wait_for(lambda: (now := job_state(versions, "linear")) is not None and now.info.curve)
    ended = end_job(versions, "linear")
    assert ended is not None
    assert (ended.state, ended.can_resume) == ("cancelled", True)
    assert end_job(versions, "linear") is None
    began = time.monotonic()
    thread.join(10)
    assert time.monotonic() - began < 2
    assert len(versions.history("linear")) == 1, "no version was made"


def test_a_job_that_is_cancelled_between_two_reports_makes_no_version(
    made: FineTuneJob, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.actions.finetune_job.BEAT_SECONDS", 600.0)
    steps = made.run()
    next(steps)
    assert end_job(versions, "linear") is not None
    assert not any(isinstance(step, FineTuned) for step in steps)
    assert len(versions.history("linear")) == 1


def test_a_cancelled_job_goes_on_and_ends_where_an_undisturbed_one_does(world: World, made: FineTuneJob) -> None:
    *_, whole = made.run()
    assert isinstance(whole, FineTuned)
    again = replace(made, id="first-part", parent_id=made.parent_id)
    running = again.run()
    fits = [next(running) for _ in range(3)]
    running.close()  # type: ignore[attr-defined]  # a generator
    rest = list(replace(made, id="second-part", resumes=True).run())
    result = rest[-1]
    assert isinstance(result, FineTuned)
    assert [step.step for step in fits] == [1, 2, 3]  # type: ignore[union-attr]
    assert rest[0].step == 4  # type: ignore[union-attr]
    found = job_state(made.versions, "linear")
    assert found is not None
    assert [point["step"] for point in found.info.curve[:4]] == [1, 2, 3, 4], "the curve has both parts"

    both = [weights(world, made.versions, outcome.version) for outcome in (result, whole)]
    assert np.abs(both[0] - both[1]).max() < 0.005
    assert np.abs(both[0] - weights(world, made.versions, None)).max() > 0.3, "it learned something"
    assert result.metrics["log_loss"].after.value == pytest.approx(whole.metrics["log_loss"].after.value, abs=1e-3)


def test_what_was_kept_for_other_labels_is_not_used(world: World, versions: Versions, made: FineTuneJob) -> None:
    running = made.run()
    next(running)
    running.close()  # type: ignore[attr-defined]
    other = world.labels("math", "base")
    first = next(replace(job(world, versions, other), resumes=True).run())
    assert first.step == 1  # type: ignore[union-attr]


def test_only_a_stopped_job_can_be_resumed(world: World, versions: Versions, made: FineTuneJob) -> None:
    asked = teaching(world, versions)
    with pytest.raises(InvalidRequest, match="was stopped"):
        resumed_job(asked, "linear")
    list(made.run())
    with pytest.raises(InvalidRequest, match="was stopped"):
        resumed_job(asked, "linear")


def test_a_failure_is_kept_in_words(world: World, versions: Versions) -> None:
    start_job(job(world, versions, world.labels("units", "base", count=2))).join(10)
    found = job_state(versions, "linear")
    assert found is not None
    assert found.state == "failed"
    assert found.info.ended.startswith("There are too few labels to learn from")


KILLED = """
    import sys, time
    from pathlib import Path
    from playground.actions.finetune_job import FineTuneJob, Reports
    from playground.learn.labels.objective import LABEL_OBJECTIVES
    from playground.actions.teaching import Teaching
    from playground.serving.versions import Versions
    from playground.settings import Settings
    from playground.store.database import Database

    def never(*_):
        print("working", flush=True)
        time.sleep(60)

    settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]))
    versions = Versions(Database.of(settings), settings)
    parent, parent_id = versions.load("linear")
    teaching = Teaching(versions, None, lambda: None)
    list(FineTuneJob(teaching, parent, parent_id, LABEL_OBJECTIVES.get("bt")(), "mine", gathered=never).run())
"""


@pytest.fixture
def killed(settings: Settings, versions: Versions) -> Iterator[subprocess.Popen[str]]:
    """Yield a program that works on a fine-tune. It lives until the test kills it."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(settings.data_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "working"
        yield process
        process.kill()


def test_a_job_killed_with_its_program_gives_way_at_once(
    killed: subprocess.Popen[str], made: FineTuneJob, versions: Versions
) -> None:
    found = job_state(versions, "linear")
    assert found is not None
    assert found.state == "running", "the other program lives"
    with pytest.raises(InvalidRequest, match="being fine-tuned already"):
        made.claim()
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    stopped = job_state(versions, "linear")
    assert stopped is not None
    assert (stopped.state, stopped.can_resume, stopped.info.objective) == ("stopped", True, "bt")
    again = resumed_job(made.teaching, "linear")
    assert (again.note, again.objective.spec.name, again.resumes) == ("mine", "bt", True)
    *_, done = made.run()
    assert isinstance(done, FineTuned)
    with versions.database.read() as session:
        statuses = session.connection().exec_driver_sql("SELECT status, log FROM training_run ORDER BY id").all()
        labels = labels_of_versions(session, "linear")
    assert sorted(statuses) == [("done", ""), ("failed", "the program that worked on it stopped")]
    assert labels == {}, "these labels are of no database"


def test_a_job_that_nobody_works_on_is_cleared_at_once(made: FineTuneJob, versions: Versions) -> None:
    made.claim()
    made.lock.release()  # as the system does when its program is killed
    Path(made.lock.lock_file).touch()  # the system frees the lock of a killed program; its file stays
    found = job_state(versions, "linear")
    assert found is not None
    assert found.state == "stopped"
    cleared = end_job(versions, "linear")
    assert cleared is not None
    assert cleared.state == "cancelled"


def test_strangers_end_only_what_they_began(made: FineTuneJob, versions: Versions) -> None:
    public = versions.settings.model_copy(update={"admin_password": "secret"})
    host: Any = SimpleNamespace(is_ready=True, versions=versions, settings=public)
    made.claim()
    with pytest.raises(NotPermitted):
        end(host, "linear", "of somebody else", "")
    ended = end(host, "linear", made.id, "")
    assert ended is not None
    assert ended.state == "cancelled"
    assert end(host, "linear", made.id, "") is None
