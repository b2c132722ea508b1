"""Run a fine-tune as a job that outlives the page which began it.

The database holds how far it is, so every page and the command line see it, and anybody may end it. A lock on a file
says that the program that works on it lives: the system frees it when that program is killed. What was fitted so far is
kept in the data folder, and a later job goes on from there.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from playground.actions.finetune_outcome import FineTuned, as_json_object, as_point
from playground.actions.teaching import Teaching, gather
from playground.errors import PlaygroundError, StorageError
from playground.store import trainings
from playground.store import versions as rows
from playground.store.tables import TrainingRunRow
from playground.store.tables.columns import new_id, now
from playground.store.trainings import TrainingInfo

if TYPE_CHECKING:
    from playground.encode.encoder import Encoder
    from playground.learn.checkpoint import Checkpoint
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.objective import LabelObjective
    from playground.learn.labels.trainer import LabelTraining, Lesson, Taught
    from playground.routers.base import Router
    from playground.serving.versions import Versions

log = logging.getLogger(__name__)
BEAT_SECONDS = 0.3  # between two reports; cancelling takes effect after one
SILENT_SECONDS = 30.0  # a job of another machine that has not reported for so long has stopped
STOPPED = "the program that worked on it stopped"


# --- where a job stands ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobState:
    """Hold a fine-tune, and whether a program works on it.

    `state` is running, stopped (its program ended before it did), done, failed or cancelled.
    """

    info: TrainingInfo
    state: str

    @property
    def can_resume(self) -> bool:
        """Return whether it can go on from where it ended."""
        return self.state in ("stopped", "cancelled")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as `finetune status --json` prints them."""
        info = self.info
        newest = dict(info.curve[-1]) if info.curve else {}
        return {
            "id": info.id,
            "router": info.router,
            "state": self.state,
            "can_resume": self.can_resume,
            "objective": info.objective,
            "labels": info.labels,
            "progress": info.progress,
            "started_at": info.started_at,
            "version": info.version,
            "ended": info.ended,
            **newest,
        }


def job_state(versions: "Versions", router: str) -> JobState | None:
    """Return the last fine-tune of `router`. Return None when it was never taught."""
    with versions.database.read() as session:
        info = trainings.newest_training(session, router)
    if info is None:
        return None
    is_stopped = info.status == "running" and not _is_worked_on(versions, info)
    return JobState(info, "stopped" if is_stopped else info.status)


def end_job(versions: "Versions", router: str) -> JobState | None:
    """Cancel the fine-tune of `router`, or clear one whose program was killed. Return it, or None when there is none.

    The router may be taught again at once. A program that still works on the job notices within a second.
    """
    with versions.database.write() as session:
        running = trainings.running_training(session, router)
        if running is None:
            return None
        trainings.end_training(session, running.id, status="cancelled", log="cancelled")
    return job_state(versions, router)


def _folder(versions: "Versions") -> Path:
    return versions.settings.data_dir / "training"


def _lock(versions: "Versions", training: str) -> FileLock:
    return FileLock(_folder(versions) / f"{training}.lock", timeout=0, thread_local=False)


def _is_worked_on(versions: "Versions", info: TrainingInfo) -> bool:
    """Return whether a program holds the lock of the job. Of another machine's job, return whether it reported."""
    lock = _lock(versions, info.id)
    if not Path(lock.lock_file).exists():
        return (now() - info.seen_at).total_seconds() < SILENT_SECONDS
    try:
        with lock:
            return False
    except Timeout:
        return True


# --- one job --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FineTuneJob:
    """Hold one fine-tune. `claim` stores it, which keeps others off the router; `run` does the work.

    `gathered` returns what there is to learn from. With `resumes`, go on from where the last job on the same labels
    stopped.
    """

    teaching: Teaching
    parent: "Router"
    parent_id: str
    objective: "LabelObjective"
    note: str = ""
    resumes: bool = False
    gathered: "Callable[[Teaching, Encoder], Lesson]" = gather
    id: str = field(default_factory=new_id)
    lock: FileLock = field(init=False, repr=False)  # held from the claim until the end is stored

    def __post_init__(self) -> None:
        object.__setattr__(self, "lock", _lock(self.versions, self.id))

    @property
    def versions(self) -> "Versions":
        """Return the versions that the result joins."""
        return self.teaching.versions

    def run(self, *, is_claimed: bool = False) -> "Iterator[FitProgress | FineTuned]":
        """Yield progress and, last, the draft. Closing it before that marks the job cancelled.

        It ends without a draft when somebody else ended the job. Raise what `claim` raises, and what a fine-tune does.
        """
        if not is_claimed:
            self.claim()
        reports = Reports(self)
        status, result = "failed", None
        try:
            with reports:
                for step in self._steps(reports):
                    if isinstance(step, FineTuned):
                        status, result = "done", step
                    yield step
                status = "done" if result else "cancelled"
        except (GeneratorExit, KeyboardInterrupt):
            status = "done" if result else "cancelled"
            raise
        finally:
            self._end(status, result, reports)

    def claim(self) -> None:
        """Store the job as running. Raise InvalidRequest while another of the same router runs.

        A job whose program was killed gives way.
        """
        _folder(self.versions).mkdir(parents=True, exist_ok=True)
        row = TrainingRunRow(
            id=self.id,
            router=self.parent.spec.name,
            parent_version=self.parent_id,
            method=self.objective.spec.name,
            config={"options": self.objective.options.model_dump(), "note": self.note, "seen_at": now().isoformat()},
        )
        self.lock.acquire()  # first: whoever sees the row must find the lock held
        is_stored = False
        try:
            with self.versions.database.write() as session:
                other = trainings.running_training(session, row.router)
                if other is not None and not _is_worked_on(self.versions, other):
                    trainings.end_training(session, other.id, status="failed", log=STOPPED)
                    (_folder(self.versions) / f"{other.id}.lock").unlink(missing_ok=True)
                trainings.start_training(session, row)
            is_stored = True
        finally:
            if not is_stored:
                self._unlock()

    def _steps(self, reports: "Reports") -> "Iterator[FitProgress | FineTuned]":
        """Yield what `run` yields. End early when somebody ended the job."""
        from playground.learn.labels.trainer import Taught, begin_training, train  # noqa: PLC0415  (imports torch)

        encoder = self.teaching.load_encoder()
        training = begin_training(self.parent, self.gathered(self.teaching, encoder))
        self._store_labels(training)
        reports.checkpoint = self._checkpoint(training)
        training = reports.begun(training) if self.resumes else training
        for step in train(training, self.objective):
            if isinstance(step, Taught):
                reports.report()  # whoever cancels between two reports wants no draft either
            if reports.is_ended():
                return
            if isinstance(step, Taught):
                yield self._keep(step, training, f"{encoder.name}@{encoder.revision}")
                self.teaching.count_draft()
            else:
                reports.take(step)
                yield step

    def _checkpoint(self, training: "LabelTraining") -> "Checkpoint":
        from playground.learn.checkpoint import Checkpoint  # noqa: PLC0415  (imports torch)

        inputs = {
            "parent": self.parent_id,
            "objective": self.objective.spec.name,
            "options": self.objective.options.model_dump(),
            "labels": training.labels_hash,
        }
        return Checkpoint(_folder(self.versions) / self.parent.spec.name, inputs)

    def _store_labels(self, training: "LabelTraining") -> None:
        """Store the part of every label."""
        from playground.learn.labels.dataset import SALT  # noqa: PLC0415  (imports torch)

        uses = [
            trainings.LabelUse(label_id=pair.label_id, split=part, weight=pair.weight, target=pair.target)
            for pair, part in zip(training.kept.pairs, training.parts, strict=True)
        ]
        with self.versions.database.write() as session:
            trainings.add_training_labels(session, self.id, uses, labels_hash=training.labels_hash, salt=SALT)

    def _keep(self, taught: "Taught", training: "LabelTraining", encoder: str) -> FineTuned:
        """Keep the policy as a draft version with its figures."""
        from playground.learn.labels.dataset import label_set_hash  # noqa: PLC0415  (imports torch)
        from playground.learn.labels.metrics import as_metrics  # noqa: PLC0415

        figures = as_metrics(taught.metrics)
        summary = {"kl": taught.kl, "moved": taught.moved, "probes": taught.probes, "beta_in_force": taught.beta}
        version = self.versions.create(
            taught.policy,
            parent=self.parent_id,
            metrics={**figures, **summary},
            labels_hash=training.labels_hash,
            note=self.note or f"{self.objective.spec.title} on {len(training.kept)} labels",
            config={"objective": self.objective.spec.name, "options": self.objective.options.model_dump()},
            encoder=encoder,
            training_run=self.id,
        )
        with self.versions.database.write() as session:
            rows.add_evaluation(
                session,
                version,
                against=self.parent_id,
                set_name="held-out labels",
                set_hash=label_set_hash(training.test.pairs),
                metrics=figures,
            )
        return FineTuned(
            version=version,
            parent=self.parent_id,
            router=training.parent.spec.name,
            metrics=taught.metrics,
            changed=taught.changed,
            moved=taught.moved,
            probes=taught.probes,
            kl=taught.kl,
            beta=taught.beta,
            counts=training.counts,
            warnings=taught.warnings,
        )

    def _end(self, status: str, result: FineTuned | None, reports: "Reports") -> None:
        """Store how the job ended. What was fitted is kept unless it is done."""
        try:
            self._store_end(status, result, reports)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        Path(self.lock.lock_file).unlink(missing_ok=True)
        self.lock.release()

    def _store_end(self, status: str, result: FineTuned | None, reports: "Reports") -> None:
        error = sys.exception() if status == "failed" else None
        words = f"{error.message} {error.remedy}".strip() if isinstance(error, PlaygroundError) else str(error or "")
        reports.report()
        with self.versions.database.write() as session:
            trainings.end_training(
                session,
                self.id,
                status=status,
                version=result.version if result else None,
                log=(words or "it ended without a result") if status == "failed" else "",
                outcome=as_json_object(result) if result else None,
            )
        if result is not None and reports.checkpoint is not None:
            reports.checkpoint.forget()


class Reports:
    """Report a job to the database from a thread of its own, and keep what was fitted so far."""

    def __init__(self, job: FineTuneJob) -> None:
        self.job = job
        self.checkpoint: Checkpoint | None = None
        self._curve: list[dict[str, Any]] = []
        self._fitted: FitProgress | None = None
        self._ended = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="fine-tune reports", daemon=True)

    def __enter__(self) -> "Reports":
        """Begin to report."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop reporting."""
        self._over.set()
        self._thread.join()

    def begun(self, training: "LabelTraining") -> "LabelTraining":
        """Return `training` from where it stopped. Return it as it is when nothing of it was kept."""
        from playground.learn.labels.fitting import Begun  # noqa: PLC0415  (imports torch)

        saved = self.checkpoint.load() if self.checkpoint else None
        if saved is None:
            return training
        self._curve = list(saved.state["curve"])
        parameters = tuple(saved.tensors[name] for name in sorted(saved.tensors))
        return replace(training, begun=Begun(saved.state["step"], parameters))

    def take(self, step: "FitProgress") -> None:
        """Add a step to the curve."""
        self._curve.append(as_point(step))
        self._fitted = step

    def is_ended(self) -> bool:
        """Return whether somebody ended the job."""
        return self._ended.is_set()

    def report(self) -> None:
        """Store the curve so far and what was fitted. A database that is busy is told at the next beat."""
        curve, fitted, self._fitted = list(self._curve), self._fitted, None
        try:
            if fitted is not None and fitted.parameters and self.checkpoint is not None:
                tensors = {f"{i:03}": parameter for i, parameter in enumerate(fitted.parameters)}
                self.checkpoint.save(tensors, None, step=fitted.step, curve=curve)
            with self.job.versions.database.write() as session:
                if not trainings.report_training(session, self.job.id, curve):
                    self._ended.set()
        except (StorageError, OSError) as error:
            log.warning("a fine-tune could not report reason=%s", error)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self.report()


def start_job(job: FineTuneJob) -> threading.Thread:
    """Claim `job` and work on it in a thread that outlives the caller. Return the thread. Raise what `claim` raises."""
    job.claim()

    def work() -> None:
        try:
            for _ in job.run(is_claimed=True):
                pass
        except PlaygroundError as error:
            log.info("a fine-tune ended reason=%s", error.message)  # every page reads it from the database

    thread = threading.Thread(target=work, name="fine-tune", daemon=True)
    thread.start()
    return thread
