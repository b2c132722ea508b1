"""Read labels: the votes in force, joined with their comparison, for the page and the trainer."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, SQLModel, col, func, select

from playground.core.integrity import standings
from playground.core.preferences import LabelledPair, Verdict
from playground.core.records import LabelRow, Side
from playground.errors import InvalidRequest
from playground.store.arrays import unpack
from playground.store.tables import (
    ComparisonRow,
    LabelActRow,
    LabelAspectRow,
    LabellerRow,
    PoolRow,
    PromptRow,
    RationaleRow,
    RouterVersionRow,
    RunRow,
)

CHUNK = 500  # ids in one query


def current_labels(
    session: Session,
    *,
    source: str | None = None,
    labeller_id: str | None = None,
    label_id: str | None = None,
    comparison_id: str | None = None,
    limit: int | None = None,
    oldest_first: bool = False,
) -> list[LabelRow]:
    """Return the votes in force, newest first. The arguments filter them."""
    head, later, act = aliased(LabelActRow), aliased(LabelActRow), aliased(LabelActRow)
    query = (
        select(act)
        .join(head, col(act.id) == func.coalesce(head.restores, head.id))
        .outerjoin(later, col(later.supersedes) == col(head.id))
        .where(col(later.id).is_(None), col(head.action).in_(("vote", "undo")), col(act.action) == "vote")
        .order_by(col(act.id).asc() if oldest_first else col(act.id).desc())
    )
    if source is not None:
        query = query.where(col(act.source) == source)
    if labeller_id is not None:
        query = query.where(col(act.labeller_id) == labeller_id)
    if label_id is not None:
        query = query.where(col(act.id) == label_id)
    if comparison_id is not None:
        query = query.where(col(act.comparison_id) == comparison_id)
    if limit is not None:
        query = query.limit(limit)
    return _joined(session, session.exec(query).all())


def vote_of(session: Session, label_id: str) -> LabelRow:
    """Return a vote by its id, whether or not it is in force. Raise InvalidRequest for an unknown one."""
    act = session.get(LabelActRow, label_id)
    if act is None or act.action != "vote":
        raise InvalidRequest("There is no such vote.", "Choose one of your votes.")
    return _joined(session, [act])[0]


def labelled_pairs(session: Session, source: str | None = "human") -> list[LabelledPair]:
    """Return the labels that training may use, oldest first. Skips and excluded votes (core.integrity) are left out.

    Usages are over the experts of both runs. The weight is 1/sqrt(labels on the comparison), halved for a hasty vote.
    """
    every = current_labels(session, source=source, oldest_first=True)
    found = standings(every)
    rows = [row for row in every if row.verdict.target is not None and found[row.label_id].counts]
    votes = Counter(row.comparison_id for row in rows)
    return [labelled_pair(row, votes_on_comparison=votes[row.comparison_id]) for row in rows]


def labelled_pair(row: LabelRow, *, votes_on_comparison: int = 1) -> LabelledPair:
    """Return the label as the trainer sees it. Raise ValueError for a skip, from which nothing can be learned."""
    if row.verdict.target is None:
        raise ValueError("a skip cannot be trained on")
    experts = tuple(dict.fromkeys((*row.a.experts, *row.b.experts)))
    return LabelledPair(
        label_id=row.label_id,
        prompt=row.prompt,
        experts=experts,
        usage_a=_over(experts, row.a),
        usage_b=_over(experts, row.b),
        target=row.verdict.target,
        weight=(0.5 if row.is_hasty else 1.0) / math.sqrt(votes_on_comparison),
    )


def count_labels(session: Session) -> dict[str, int]:
    """Return the number of votes in force for each choice, and their sum as `all`."""
    head, later, act = aliased(LabelActRow), aliased(LabelActRow), aliased(LabelActRow)
    query = (
        select(act.choice, func.count())
        .join(head, col(act.id) == func.coalesce(head.restores, head.id))
        .outerjoin(later, col(later.supersedes) == col(head.id))
        .where(col(later.id).is_(None), col(head.action).in_(("vote", "undo")), col(act.action) == "vote")
        .group_by(col(act.choice))
    )
    counts = {str(choice): count for choice, count in session.exec(query)}
    return {"all": sum(counts.values()), **counts}


def count_usable(session: Session, source: str = "human") -> tuple[int, int, int, int]:
    """Return the votes in force that say something, their prompts and their labellers, and the number of skips.

    The database counts. Reading 50,000 labels only to count them took 5 s. An undo has the source of its vote, so the
    source of the last act is asked for: SQLite then begins with these acts and finds the rest by primary keys.
    """
    head, later, act = aliased(LabelActRow), aliased(LabelActRow), aliased(LabelActRow)
    says = col(act.choice) != Verdict.SKIP.choice
    query = (
        select(
            func.count(sa.case((says, 1))),
            func.count(sa.distinct(sa.case((says, col(ComparisonRow.prompt_id))))),
            func.count(sa.distinct(sa.case((says, col(act.labeller_id))))),
            func.count(sa.case((~says, 1))),
        )
        .join(head, col(act.id) == func.coalesce(head.restores, head.id))
        .join(ComparisonRow, col(ComparisonRow.id) == col(act.comparison_id))
        .outerjoin(later, col(later.supersedes) == col(head.id))
        .where(col(later.id).is_(None), col(head.action).in_(("vote", "undo")), col(act.action) == "vote")
        .where(col(head.source) == source, col(ComparisonRow.selection).not_in(("check", "duplicate")))
    )
    labels, prompts, people, skips = session.exec(query).one()
    return labels, prompts, people, skips


def _over(experts: Sequence[str], side: Side) -> np.ndarray:
    usage = np.zeros(len(experts), np.float32)
    for name, share in zip(side.experts, side.usage, strict=True):
        usage[experts.index(name)] = share
    return usage


def _joined(session: Session, acts: Sequence[LabelActRow]) -> list[LabelRow]:
    """Return the acts with everything they refer to. The number of queries does not depend on the number of acts."""
    wanted = {act.comparison_id for act in acts}
    comparisons = {row.id: row for row in _by_ids(session, ComparisonRow, wanted)}
    runs = _sides(session, {run for row in comparisons.values() for run in (row.run_a, row.run_b)})
    prompts = {row.id: row for row in _by_ids(session, PromptRow, {row.prompt_id for row in comparisons.values()})}
    people = {row.id: row.handle for row in _by_ids(session, LabellerRow, {act.labeller_id for act in acts})}
    reasons = _rationales(session, {act.id for act in acts})
    aspects = _aspects(session, {act.id for act in acts})
    return [
        _row(
            act,
            comparisons[act.comparison_id],
            runs=runs,
            prompts=prompts,
            people=people,
            reason=reasons.get(act.id),
            aspects=aspects.get(act.id, {}),
        )
        for act in acts
    ]


def _row(
    act: LabelActRow,
    comparison: ComparisonRow,
    *,
    runs: Mapping[str, Side],
    prompts: Mapping[str, PromptRow],
    people: Mapping[str, str],
    reason: RationaleRow | None,
    aspects: Mapping[str, int],
) -> LabelRow:
    return LabelRow(
        label_id=act.id,
        comparison_id=act.comparison_id,
        created_at=act.created_at,
        labeller_id=act.labeller_id,
        labeller=people[act.labeller_id],
        verdict=Verdict.of(act.choice or "skip", act.strength),
        prompt=prompts[comparison.prompt_id].text,
        a=runs[comparison.run_a],
        b=runs[comparison.run_b],
        left="a" if comparison.left_run == comparison.run_a else "b",
        selection=comparison.selection,
        pair_propensity=comparison.pair_propensity,
        source=act.source,
        source_detail=act.source_detail,
        revealed_before=act.revealed_before,
        blind=comparison.blind,
        lead_ms=act.lead_ms,
        rationale=reason.text if reason else "",
        tags=tuple(reason.tags) if reason else (),
        category=prompts[comparison.prompt_id].category or "",
        judged=comparison.judged,
        duplicate_of=comparison.duplicate_of,
        check_answer=comparison.check_answer,
        aspects=aspects,
    )


T = TypeVar("T", bound=SQLModel)


def _by_ids(session: Session, table: type[T], ids: Iterable[str]) -> Iterator[T]:
    """Yield the rows of `table` with these ids. A statement holds a limited number of them, so it works in pieces."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), CHUNK):
        yield from session.exec(select(table).where(table.id.in_(ordered[start : start + CHUNK])))  # type: ignore[attr-defined]


def _sides(session: Session, ids: set[str]) -> dict[str, Side]:
    rows = {row.id: row for row in _by_ids(session, RunRow, ids)}
    pools = {row.id: tuple(row.names) for row in _by_ids(session, PoolRow, {row.pool_id for row in rows.values()})}
    versions = {row.router_version_id for row in rows.values()}
    routers = {row.id: row.router for row in _by_ids(session, RouterVersionRow, versions)}
    return {
        row.id: Side(
            run_id=row.id,
            text=row.text,
            router=routers[row.router_version_id],
            version=row.router_version_id,
            experts=pools[row.pool_id],
            usage=unpack(row.usage),
        )
        for row in rows.values()
    }


def _rationales(session: Session, labels: set[str]) -> dict[str, RationaleRow]:
    """Return the newest reason of each label."""
    found: dict[str, RationaleRow] = {}
    ordered = sorted(labels)
    for start in range(0, len(ordered), CHUNK):
        query = (
            select(RationaleRow)
            .where(col(RationaleRow.label_id).in_(ordered[start : start + CHUNK]))
            .where(col(RationaleRow.deleted_at).is_(None))
            .order_by(col(RationaleRow.id))
        )
        found |= {row.label_id: row for row in session.exec(query)}
    return found


def _aspects(session: Session, labels: set[str]) -> dict[str, dict[str, int]]:
    """Return what each label said of its aspects, for `a` against `b`."""
    found: dict[str, dict[str, int]] = {}
    ordered = sorted(labels)
    for start in range(0, len(ordered), CHUNK):
        wanted = col(LabelAspectRow.label_id).in_(ordered[start : start + CHUNK])
        for row in session.exec(select(LabelAspectRow).where(wanted)):
            found.setdefault(row.label_id, {})[row.aspect] = row.value
    return found
