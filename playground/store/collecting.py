"""Store what collecting needs beside the votes: consent, sittings with a goal, aspects, and what may be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from playground.core.integrity import Integrity, measured
from playground.errors import InvalidRequest
from playground.store.database import Database
from playground.store.label_views import current_labels
from playground.store.prompts import storable
from playground.store.tables import ComparisonRow, ConsentRow, LabelActRow, LabelAspectRow, SittingRow
from playground.store.tables.columns import now

MOST_ASPECTS = 8


@dataclass(frozen=True)
class Sitting:
    """Say how far a labeller is: `done` of `goal` comparisons have a vote since the sitting began."""

    id: str
    goal: int
    done: int

    @property
    def is_reached(self) -> bool:
        """Return whether the goal is reached."""
        return self.done >= self.goal


def has_consent(session: Session, labeller_id: str, *, licence: str, terms: str) -> bool:
    """Return whether the labeller agreed to this licence and notice. Another text has to be shown again."""
    query = select(ConsentRow.id).where(
        col(ConsentRow.labeller_id) == labeller_id, col(ConsentRow.licence) == licence, col(ConsentRow.terms) == terms
    )
    return session.exec(query.limit(1)).first() is not None


def give_consent(session: Session, labeller_id: str, *, licence: str, terms: str) -> None:
    """Store that the labeller agrees. Saying so twice stores one row."""
    if not has_consent(session, labeller_id, licence=licence, terms=terms):
        session.add(ConsentRow(labeller_id=labeller_id, licence=licence, terms=terms))
        session.flush()


def begin_sitting(session: Session, labeller_id: str, *, goal: int) -> Sitting:
    """Return the open sitting of the labeller, or begin one with this goal."""
    found = open_sitting(session, labeller_id)
    if found is not None:
        return found
    row = SittingRow(labeller_id=labeller_id, goal=goal)
    session.add(row)
    session.flush()
    return Sitting(row.id, row.goal, 0)


def open_sitting(session: Session, labeller_id: str) -> Sitting | None:
    """Return the sitting that the labeller has not finished, if there is one, with its progress."""
    row = _open(session, labeller_id)
    if row is None:
        return None
    # a vote that was taken back does not count, and a changed one counts once
    later = select(LabelActRow.supersedes).where(col(LabelActRow.supersedes).is_not(None))
    query = select(func.count(func.distinct(LabelActRow.comparison_id))).where(
        col(LabelActRow.labeller_id) == labeller_id,
        col(LabelActRow.created_at) >= row.began_at,
        col(LabelActRow.action) == "vote",
        col(LabelActRow.id).not_in(later),
    )
    return Sitting(row.id, row.goal, session.exec(query).one())


def end_sitting(session: Session, labeller_id: str) -> None:
    """Finish the open sitting of the labeller, reached or not. Do nothing when there is none."""
    row = _open(session, labeller_id)
    if row is not None:
        row.ended_at = now()
        session.add(row)
        session.flush()


def judge_aspects(session: Session, label_id: str, aspects: Mapping[str, int]) -> None:
    """Store what a vote says of some aspects, for the left answer against the right: from 2 to -2.

    Raise InvalidRequest for an unknown vote, a value out of range, or an aspect that this vote judged before.
    """
    act = session.get(LabelActRow, label_id)
    comparison = session.get(ComparisonRow, act.comparison_id) if act else None
    if act is None or comparison is None:
        raise InvalidRequest("There is no such vote.", "Vote first, then judge the aspects.")
    if len(aspects) > MOST_ASPECTS or any(value not in range(-2, 3) for value in aspects.values()):
        raise InvalidRequest("An aspect has a value that is not on the scale.", "Choose a step of the scale.")
    sign = 1 if comparison.left_run == comparison.run_a else -1
    for aspect, value in aspects.items():
        name = storable(aspect)[:64]
        before = session.get(LabelAspectRow, (label_id, name))
        if before is not None and before.value != sign * value:
            raise InvalidRequest(f"This vote judged {name!r} already.", "Undo the vote to judge it anew.")
        if before is None:
            session.add(LabelAspectRow(label_id=label_id, aspect=name, value=sign * value))
    session.flush()


def repeatable(session: Session, labeller_id: str, *, gap: int) -> ComparisonRow | None:
    """Return the oldest comparison that may be shown to the labeller again, if there is one.

    At least `gap` votes of theirs are newer. It was no check and no repeat, and it was not repeated for them before.
    """
    votes = (
        select(LabelActRow.comparison_id, func.min(LabelActRow.id).label("first"))
        .where(col(LabelActRow.labeller_id) == labeller_id, col(LabelActRow.action) == "vote")
        .group_by(col(LabelActRow.comparison_id))
        .subquery()
    )
    repeated = (
        select(ComparisonRow.duplicate_of)
        .join(votes, votes.c.comparison_id == col(ComparisonRow.id))
        .where(col(ComparisonRow.duplicate_of).is_not(None))
    )
    total = session.exec(select(func.count()).select_from(votes)).one()
    query = (
        select(ComparisonRow)
        .join(votes, votes.c.comparison_id == col(ComparisonRow.id))
        .where(col(ComparisonRow.selection).not_in(("check", "duplicate")), col(ComparisonRow.id).not_in(repeated))
        .order_by(votes.c.first)
    )
    return session.exec(query.limit(1)).first() if total > gap else None


def has_judged(session: Session, labeller_id: str, first: str, second: str) -> bool:
    """Return whether the labeller ever voted on a comparison of these two runs."""
    run_a, run_b = sorted((first, second))
    query = (
        select(LabelActRow.id)
        .join(ComparisonRow, col(ComparisonRow.id) == col(LabelActRow.comparison_id))
        .where(col(ComparisonRow.run_a) == run_a, col(ComparisonRow.run_b) == run_b)
        .where(col(LabelActRow.labeller_id) == labeller_id)
    )
    return session.exec(query.limit(1)).first() is not None


def measure_votes(database: Database) -> Integrity:
    """Return how many of the people's votes count, why the others do not, and an alarm when that share moved."""
    with database.read() as session:
        return measured(current_labels(session, source="human"))


def _open(session: Session, labeller_id: str) -> SittingRow | None:
    query = select(SittingRow).where(col(SittingRow.labeller_id) == labeller_id, col(SittingRow.ended_at).is_(None))
    return session.exec(query.order_by(col(SittingRow.id).desc()).limit(1)).first()
