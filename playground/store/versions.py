"""Store router versions, promotions and evaluations. The promotions alone decide what is in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, func, select

from playground.core.records import VersionInfo
from playground.errors import InvalidRequest
from playground.store.tables import EvaluationRow, PromotionRow, RouterVersionRow

SHADOW = "shadow"  # the name of the set in the rows that say which version decides beside the one in force


@dataclass(frozen=True)
class PromotionInfo:
    """Hold one promotion or rollback."""

    id: str
    router: str
    version: str
    action: str
    from_version: str | None
    by: str
    reason: str
    at: datetime


def add_version(session: Session, row: RouterVersionRow) -> str:
    """Store a new version as given and return its id."""
    session.add(row)
    session.flush()
    return row.id


def version_row(session: Session, version: str) -> RouterVersionRow:
    """Return the row of `version`. Raise InvalidRequest for an unknown one."""
    row = session.get(RouterVersionRow, version)
    if row is None:
        raise InvalidRequest(f"No router version is called {version[:80]!r}.", "List them with `versions`.")
    return row


def in_force(session: Session, router: str) -> str | None:
    """Return the version that the newest promotion or rollback of `router` names. Return None when there was none."""
    query = select(PromotionRow.version_id).where(col(PromotionRow.router) == router)
    return session.exec(query.order_by(col(PromotionRow.id).desc()).limit(1)).first()


def promotions(session: Session, router: str) -> list[PromotionInfo]:
    """Return every promotion and rollback of `router`, oldest first."""
    query = select(PromotionRow).where(col(PromotionRow.router) == router).order_by(col(PromotionRow.id))
    return [
        PromotionInfo(row.id, row.router, row.version_id, row.action, row.from_version, row.by, row.reason, row.at)
        for row in session.exec(query)
    ]


def before_current(session: Session, router: str) -> str | None:
    """Return the version that a rollback would bring back. Return None when there is none.

    Each rollback takes back one promotion, so several in a row go further back.
    """
    stack: list[str] = []
    for step in promotions(session, router):
        base = stack or [step.from_version or ""]
        stack = stack[:-1] if step.action == "rollback" else [*base, step.version]
    return stack[-2] or None if len(stack) > 1 else None


def add_promotion(
    session: Session, router: str, version: str, *, action: str, from_version: str | None, by: str, reason: str
) -> str:
    """Store a promotion or rollback and return its id."""
    row = PromotionRow(
        router=router, version_id=version, action=action, from_version=from_version, by=by[:128], reason=reason
    )
    session.add(row)
    session.flush()
    return row.id


def versions_of(session: Session, router: str, *, current: str) -> list[VersionInfo]:
    """Return every version of `router`, newest first. `current` is the one in force."""
    query = select(RouterVersionRow).where(col(RouterVersionRow.router) == router)
    steps = promotions(session, router)
    used = {step.version for step in steps} | {step.from_version for step in steps}
    rows = session.exec(query.order_by(col(RouterVersionRow.created_at).desc(), col(RouterVersionRow.id).desc())).all()
    return [describe(row, current=current, promoted=row.id in used) for row in rows]


def describe(row: RouterVersionRow, *, current: str, promoted: bool) -> VersionInfo:
    """Return the row as a value."""
    return VersionInfo(
        id=row.id,
        router=row.router,
        level=row.level,
        parent=row.parent_id,
        created_at=row.created_at,
        note=row.note,
        metrics=row.metrics,
        config=row.config,
        labels_hash=row.labels_hash,
        encoder=row.encoder,
        params_path=row.params_path,
        params_sha256=row.params_sha256,
        state="current" if row.id == current else "promoted before" if promoted else "draft",
    )


def add_evaluation(
    session: Session, version: str, *, against: str | None, set_name: str, set_hash: str, metrics: Mapping[str, Any]
) -> str:
    """Store figures of `version` and return their id."""
    row = EvaluationRow(
        version_id=version, against=against, set_name=set_name, set_hash=set_hash, metrics=dict(metrics)
    )
    session.add(row)
    session.flush()
    return row.id


def looks_at(session: Session, version: str) -> int:
    """Return how many versions were measured on the held-out labels that `version` was measured on, itself included."""
    own = select(EvaluationRow.set_hash).where(
        col(EvaluationRow.version_id) == version, col(EvaluationRow.set_hash) != ""
    )
    query = select(func.count(sa.distinct(col(EvaluationRow.version_id)))).where(col(EvaluationRow.set_hash).in_(own))
    return max(1, session.exec(query).one())


def add_shadow(session: Session, version: str, *, is_on: bool) -> None:
    """Store that `version` begins or ceases to decide beside the one in force."""
    add_evaluation(session, version, against=None, set_name=SHADOW, set_hash="", metrics={"is_on": is_on})


def shadow_of(session: Session, router: str) -> str | None:
    """Return the version of `router` that decides beside the one in force. Return None when there is none."""
    query = (
        select(EvaluationRow)
        .join(RouterVersionRow, col(RouterVersionRow.id) == col(EvaluationRow.version_id))
        .where(col(RouterVersionRow.router) == router, col(EvaluationRow.set_name) == SHADOW)
        .order_by(col(EvaluationRow.id).desc())
        .limit(1)
    )
    newest = session.exec(query).first()
    return newest.version_id if newest is not None and newest.metrics.get("is_on") else None
