"""Store comparisons and the verdicts on them.

A verdict is given as shown, where A is the left answer. It is stored in terms of run_a and run_b. Labels are
append-only: a changed vote and an undo are new rows that supersede the old one. A vote is committed before its id is
returned, so a saved vote survives a killed process.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, or_, select

from playground.core.preferences import Verdict
from playground.errors import InvalidRequest, NotPermitted
from playground.store.prompts import storable
from playground.store.tables import ComparisonRow, LabelActRow, PromptRow, RationaleRow, RunRow
from playground.store.tables.columns import new_id
from playground.store.tables.labels import JUDGED, SELECTIONS, SOURCES

MAX_RATIONALE = 4000
MAX_TAGS = 20


@dataclass(frozen=True)
class StoredComparison:
    """Hold a comparison as it was shown: `runs` are left and right."""

    id: str
    prompt: str
    runs: tuple[str, str]
    selection: str
    pair_propensity: float | None
    judged: str | None = None


def create_comparison(
    session: Session,
    run_a: str,
    run_b: str,
    *,
    selection: str,
    pair_propensity: float | None,
    left_run: str,
    blind: bool = True,
    comparison_id: str = "",
    judged: str | None = None,
    duplicate_of: str | None = None,
    check_answer: str | None = None,
) -> str:
    """Store a comparison of two stored runs of one prompt and return its id. `left_run` is shown left.

    `comparison_id` is a ULID that the caller gave out already; by default a new one is made. `judged` says what a vote
    judges. `duplicate_of` is the comparison that this one repeats. `check_answer` is the run known to be better.

    Raise InvalidRequest when the runs are the same, unknown, failed or of different prompts, or when the selection is
    unknown.
    """
    if run_a == run_b or left_run not in (run_a, run_b):
        raise InvalidRequest("A comparison needs two different runs, one of them on the left.", "Compare again.")
    if selection not in SELECTIONS:
        raise InvalidRequest(f"No selection is called {selection!r}.", f"Choose one of: {', '.join(SELECTIONS)}.")
    if judged is not None and judged not in JUDGED:
        raise InvalidRequest(f"Nothing is judged as {judged!r}.", f"Choose one of: {', '.join(JUDGED)}.")
    runs = [session.get(RunRow, run) for run in (run_a, run_b)]
    if runs[0] is None or runs[1] is None:
        raise InvalidRequest("One of the runs is not stored.", "Run the prompt again.")
    if runs[0].prompt_id != runs[1].prompt_id:
        raise InvalidRequest("The two runs answer different prompts.", "Compare two answers to one prompt.")
    if runs[0].error or runs[1].error:
        raise InvalidRequest("One of the two answers failed, so there is nothing to compare.", "Run the prompt again.")
    first, second = sorted((run_a, run_b))
    row = ComparisonRow(
        id=comparison_id or new_id(),
        prompt_id=runs[0].prompt_id,
        run_a=first,
        run_b=second,
        left_run=left_run,
        selection=selection,
        pair_propensity=pair_propensity,
        blind=blind,
        judged=judged,
        duplicate_of=duplicate_of,
        check_answer="ab"[(first, second).index(check_answer)] if check_answer else None,
    )
    session.add(row)
    session.flush()
    return row.id


def vote(
    session: Session,
    comparison_id: str,
    verdict: Verdict,
    *,
    labeller_id: str,
    client_token: str,
    revealed_before: bool = False,
    lead_ms: int = 0,
    source: str = "human",
    source_detail: Mapping[str, Any] | None = None,
) -> str:
    """Store a vote, commit it and return the id of the label. `verdict` is as shown: A is the left answer.

    A `client_token` that the labeller used on this comparison before (a double click, a retry) returns the first label.
    A second vote of one labeller on one comparison supersedes the first and counts as revealed. Raise InvalidRequest
    for an unknown comparison or source.
    """
    if source not in SOURCES:
        raise InvalidRequest(f"No source of labels is called {source!r}.", f"Choose one of: {', '.join(SOURCES)}.")
    comparison = _comparison(session, comparison_id)
    repeated = _by_token(session, client_token, comparison_id, labeller_id)
    if repeated is not None:
        return repeated
    canonical = verdict if comparison.left_run == comparison.run_a else verdict.swapped()
    head = _head(session, comparison_id, labeller_id)
    row = LabelActRow(
        comparison_id=comparison_id,
        labeller_id=labeller_id,
        action="vote",
        supersedes=head.id if head else None,
        choice=canonical.choice,
        strength=canonical.strength,
        source=source,
        source_detail=dict(source_detail or {}),
        revealed_before=revealed_before or head is not None,
        lead_ms=lead_ms,
        client_token=_own_token(client_token, labeller_id),
    )
    session.add(row)
    session.commit()
    return row.id


def undo(session: Session, label_id: str, *, labeller_id: str, client_token: str) -> str:
    """Take back the vote `label_id`, commit that and return the id of the new row.

    The labeller's vote before it, if any, is in force again. A repeated `client_token` returns the first undo. Raise
    InvalidRequest for a vote that is unknown, undone or replaced, and NotPermitted for somebody else's vote.
    """
    target = session.get(LabelActRow, label_id)
    if target is None or target.action != "vote":
        raise InvalidRequest("There is no such vote.", "Choose one of your votes.")
    if target.labeller_id != labeller_id:
        raise NotPermitted("This vote was given by somebody else.", "You can only undo your own votes.")
    _comparison(session, target.comparison_id)
    repeated = _by_token(session, client_token, target.comparison_id, labeller_id)
    if repeated is not None:
        return repeated
    head = _head(session, target.comparison_id, labeller_id)
    in_force = _in_force(session, head)
    if in_force is None or in_force.id != label_id:
        raise InvalidRequest("This vote was taken back or replaced already.", "Reload the list of your votes.")
    before = session.get(LabelActRow, target.supersedes) if target.supersedes else None
    previous = _in_force(session, before)
    row = LabelActRow(
        comparison_id=target.comparison_id,
        labeller_id=labeller_id,
        action="undo",
        supersedes=head.id if head else None,
        restores=previous.id if previous else None,
        source=target.source,
        client_token=_own_token(client_token, labeller_id),
    )
    session.add(row)
    session.commit()
    return row.id


def add_rationale(session: Session, label_id: str, text: str, tags: Sequence[str] = ()) -> str:
    """Store a reason for a label and return its id. Raise InvalidRequest for an unknown label or a long text."""
    if session.get(LabelActRow, label_id) is None:
        raise InvalidRequest("There is no such vote.", "Vote first, then say why.")
    if len(text) > MAX_RATIONALE or len(tags) > MAX_TAGS:
        raise InvalidRequest("The reason is too long.", f"Use at most {MAX_RATIONALE} characters and {MAX_TAGS} tags.")
    row = RationaleRow(label_id=label_id, text=storable(text), tags=[storable(tag)[:64] for tag in tags])
    session.add(row)
    session.flush()
    return row.id


def load_comparison(session: Session, comparison_id: str) -> StoredComparison:
    """Return the comparison. Raise InvalidRequest for an unknown one."""
    query = select(ComparisonRow, PromptRow.text).join(PromptRow, col(PromptRow.id) == col(ComparisonRow.prompt_id))
    found = session.exec(query.where(col(ComparisonRow.id) == comparison_id)).first()
    if found is None:
        raise InvalidRequest("There is no such comparison.", "Start a new one.")
    row, prompt = found
    right = row.run_b if row.left_run == row.run_a else row.run_a
    return StoredComparison(row.id, prompt, (row.left_run, right), row.selection, row.pair_propensity, row.judged)


def acts_of(session: Session, comparison_id: str, labeller_id: str) -> int:
    """Return how often the labeller voted on the comparison or took a vote back."""
    acts = select(func.count()).where(
        col(LabelActRow.comparison_id) == comparison_id, col(LabelActRow.labeller_id) == labeller_id
    )
    return session.exec(acts).one()


def has_votes(session: Session, comparison_id: str) -> bool:
    """Return whether anybody ever voted on the comparison, also when the vote was taken back."""
    votes = select(LabelActRow.id).where(col(LabelActRow.comparison_id) == comparison_id)
    return session.exec(votes.limit(1)).first() is not None


def _comparison(session: Session, comparison_id: str) -> ComparisonRow:
    # a server lets two replicas vote at once: the second one waits here, and sees the vote of the first
    row = session.get(ComparisonRow, comparison_id, with_for_update=True)
    if row is None:
        raise InvalidRequest("There is no such comparison.", "Start a new one.")
    return row


def _by_token(session: Session, token: str, comparison_id: str, labeller_id: str) -> str | None:
    if not token or len(token) > 128:
        raise InvalidRequest("The vote has no usable token.", "Reload the page and vote again.")
    own = _own_token(token, labeller_id)
    # a database of before keeps the token as it was given
    acts = select(LabelActRow).where(
        or_(col(LabelActRow.client_token) == own, col(LabelActRow.client_token) == token),
        col(LabelActRow.labeller_id) == labeller_id,
    )
    row = session.exec(acts).first()
    if row is None:
        return None
    if row.comparison_id != comparison_id:
        raise InvalidRequest("This token belongs to another vote.", "Give each vote a token of its own.")
    return row.id


def _own_token(token: str, labeller_id: str) -> str:
    """Return the token as it is stored. Two labellers may use one token, and none can find out another's."""
    return hashlib.sha256(f"{labeller_id}:{token}".encode("utf-8", "surrogatepass")).hexdigest()


def _head(session: Session, comparison_id: str, labeller_id: str) -> LabelActRow | None:
    """Return the last act of the labeller on the comparison: the one that no other act supersedes."""
    later = aliased(LabelActRow)
    query = (
        select(LabelActRow)
        .outerjoin(later, col(later.supersedes) == col(LabelActRow.id))
        .where(col(LabelActRow.comparison_id) == comparison_id, col(LabelActRow.labeller_id) == labeller_id)
        .where(col(later.id).is_(None))
    )
    return session.exec(query).first()


def _in_force(session: Session, act: LabelActRow | None) -> LabelActRow | None:
    """Return the vote that counts after `act`."""
    if act is None or act.action == "vote":
        return act
    return session.get(LabelActRow, act.restores) if act.restores else None
