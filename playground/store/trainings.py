"""Store fine-tunes: what was asked, how far one is, what it made of each label, and how it ended.

A fine-tune lives here and not in the program that works on it, so that every page and every program sees it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from playground.core.records import LabelsOf
from playground.errors import InvalidRequest
from playground.store.tables import LabelActRow, TrainingLabelRow, TrainingRunRow
from playground.store.tables.columns import now

CHUNK = 500


@dataclass(frozen=True)
class TrainingInfo:
    """Hold one fine-tune. `curve` has a mapping for each step. `outcome` is empty unless it is done.

    `seen_at` is when the program that works on it last reported. `ended` says why it failed.
    """

    id: str
    router: str
    parent: str
    objective: str
    options: Mapping[str, Any]
    note: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    seen_at: datetime
    labels: int
    progress: float
    version: str | None
    ended: str
    curve: tuple[Mapping[str, Any], ...]
    outcome: Mapping[str, Any]


def start_training(session: Session, row: TrainingRunRow) -> str:
    """Store a new fine-tune and return its id. Raise InvalidRequest while another of the same router runs."""
    if running_training(session, row.router) is not None:
        raise InvalidRequest("This router is being fine-tuned already.", "Wait until it is done, or cancel it.")
    session.add(row)
    session.flush()
    return row.id


def running_training(session: Session, router: str) -> TrainingInfo | None:
    """Return the fine-tune of `router` that is marked as running, if there is one."""
    query = select(TrainingRunRow).where(col(TrainingRunRow.router) == router, col(TrainingRunRow.status) == "running")
    row = session.exec(query).first()
    return None if row is None else _info(row)


def newest_training(session: Session, router: str) -> TrainingInfo | None:
    """Return the last fine-tune of `router`, if there is one."""
    query = select(TrainingRunRow).where(col(TrainingRunRow.router) == router)
    row = session.exec(query.order_by(col(TrainingRunRow.id).desc()).limit(1)).first()
    return None if row is None else _info(row)


def report_training(session: Session, training: str, curve: Sequence[Mapping[str, Any]]) -> bool:
    """Store how far a fine-tune is. Return whether it still runs: somebody else may have ended it."""
    row = session.get(TrainingRunRow, training)
    if row is None or row.status != "running":
        return False
    row.config = {**row.config, "curve": [dict(point) for point in curve], "seen_at": now().isoformat()}
    row.progress = min(1.0, curve[-1]["step"] / curve[-1]["steps"]) if curve else 0.0
    session.add(row)
    session.flush()
    return True


@dataclass(frozen=True)
class LabelUse:
    """Hold what a fine-tune made of one label."""

    label_id: str
    split: str
    weight: float
    target: float


def add_training_labels(
    session: Session, training: str, uses: Sequence[LabelUse], *, labels_hash: str = "", salt: str = ""
) -> int:
    """Store what a fine-tune makes of its labels, and return how many. Labels of other databases are left out."""
    row = session.get_one(TrainingRunRow, training)
    row.label_set_hash, row.n_labels, row.split_salt = labels_hash, len(uses), salt
    session.add(row)
    session.flush()
    known: set[str] = set()
    for start in range(0, len(uses), CHUNK):
        ids = [use.label_id for use in uses[start : start + CHUNK]]
        known |= set(session.exec(select(LabelActRow.id).where(col(LabelActRow.id).in_(ids))).all())
    values = [{"training_run_id": training, "action": "as is", **asdict(use)} for use in uses if use.label_id in known]
    if values:
        session.connection().execute(sa.insert(TrainingLabelRow), values)  # rows as objects took 5 s for 50,000
    return len(values)


def end_training(
    session: Session,
    training: str,
    *,
    status: str,
    log: str = "",
    version: str | None = None,
    outcome: Mapping[str, Any] | None = None,
) -> bool:
    """Mark the fine-tune `done`, `failed` or `cancelled`. Return False when it had ended before."""
    row = session.get(TrainingRunRow, training)
    if row is None or row.status != "running":
        return False
    row.status, row.finished_at, row.log, row.version_id = status, now(), log, version
    row.progress = 1.0 if status == "done" else row.progress
    row.config = {**row.config, "outcome": dict(outcome or {})}
    session.add(row)
    session.flush()
    return True


def labels_of_versions(session: Session, router: str) -> dict[str, LabelsOf]:
    """Return, by version of `router`, the labels that its fine-tune used. Versions without one are left out."""
    query = (
        select(TrainingRunRow.version_id, TrainingRunRow.label_set_hash, TrainingLabelRow.split, sa.func.count())
        .join(TrainingLabelRow, col(TrainingLabelRow.training_run_id) == col(TrainingRunRow.id))
        .where(col(TrainingRunRow.router) == router, col(TrainingRunRow.version_id).is_not(None))
        .group_by(col(TrainingRunRow.version_id), col(TrainingRunRow.label_set_hash), col(TrainingLabelRow.split))
    )
    parts: dict[str, dict[str, int]] = {}
    hashes: dict[str, str] = {}
    for version, labels_hash, split, count in session.exec(query):
        parts.setdefault(str(version), {})[split] = count
        hashes[str(version)] = labels_hash
    return {
        version: LabelsOf(found.get("train", 0), found.get("valid", 0), found.get("test", 0), hashes[version])
        for version, found in parts.items()
    }


def _info(row: TrainingRunRow) -> TrainingInfo:
    kept = row.config
    seen = kept.get("seen_at")
    return TrainingInfo(
        id=row.id,
        router=row.router,
        parent=row.parent_version,
        objective=row.method,
        options=kept.get("options", {}),
        note=kept.get("note", ""),
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        seen_at=datetime.fromisoformat(seen) if seen else row.started_at,
        labels=row.n_labels,
        progress=row.progress,
        version=row.version_id,
        ended=row.log,
        curve=tuple(kept.get("curve", ())),
        outcome=kept.get("outcome") or {},
    )
