"""Delete what one labeller gave: votes become tombstones, and no copy of their texts stays.

Rows of the protected tables never change otherwise. The triggers that see to it are dropped and made again inside the
one transaction of a deletion, so nobody ever sees the database without them.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_, select

from playground.core.events import Decided
from playground.core.values import Neighbours
from playground.errors import InvalidRequest
from playground.store import triggers
from playground.store.tables import (
    ComparisonRow,
    ConsentRow,
    DecisionRow,
    LabelActRow,
    LabelAspectRow,
    LabellerRow,
    PromptRow,
    RationaleRow,
    RunRow,
    SittingRow,
    TraceRow,
    VersionFileRow,
)
from playground.store.tables.columns import new_id, now
from playground.store.traces import load_trace, replace_trace

DELETED = "(deleted on request)"
CHUNK = 500


@dataclass(frozen=True)
class Erased:
    """Count what a deletion took. `texts` are the prompts that went, `files` the traces to delete after the commit."""

    labels: int
    prompts: int
    runs: int
    reasons: int
    texts: frozenset[str]
    files: tuple[str, ...]


@contextmanager
def unprotected(session: Session) -> Iterator[None]:
    """Let the open transaction change protected rows until the block ends."""
    session.flush()
    triggers.drop(session.connection())
    yield
    session.flush()
    triggers.recreate(session.connection())


def labeller_called(session: Session, name: str) -> str:
    """Return the labeller with this id or shown handle. Raise InvalidRequest for none, or for several of one handle."""
    found = session.exec(
        select(LabellerRow.id).where(or_(col(LabellerRow.id) == name, col(LabellerRow.handle) == name))
    ).all()
    if len(found) == 1 and name != DELETED:
        return found[0]
    if found:
        raise InvalidRequest(f"{len(found)} labellers are shown as {name[:40]}.", "Give the id of one instead.")
    raise InvalidRequest(f"No labeller is called {name[:40]!r}.", "Copy the handle from the list of labels.")


def erase(session: Session, labeller: str, sessions: Collection[str] = ()) -> Erased:
    """Erase a labeller's votes, reasons, prompts and answers, inside `unprotected`.

    Theirs are the runs of `sessions`. Without any, their sessions are those in which they alone judged first. A run
    that somebody else judged stays, and so does a prompt that somebody else ran. Nothing identifies the labeller after.
    """
    acts = session.exec(select(LabelActRow).where(col(LabelActRow.labeller_id) == labeller)).all()
    runs = _runs(session, labeller, {act.comparison_id for act in acts}, set(sessions))
    prompts = _prompts(session, runs)
    texts = frozenset(prompt.text for prompt in prompts if prompt.text)
    files = [name for run in runs for name in _erase_run(session, run)]
    for prompt in prompts:
        prompt.text, prompt.messages, prompt.category = "", None, None
        prompt.text_hash = prompt.group_id = f"deleted {prompt.id}"  # a hash would tell whoever guesses the text
        prompt.deleted_at = now()
        session.add(prompt)
    reasons = _erase_reasons(session, [act.id for act in acts])
    _drop_rows(session, labeller, [act.id for act in acts])
    votes = _bury(session, acts)
    person = session.get_one(LabellerRow, labeller)
    person.auth_subject_hash, person.handle = None, DELETED
    session.add(person)
    session.flush()
    files += _forget_neighbours(session, texts)
    return Erased(votes, len(prompts), len(runs), reasons, texts, tuple(files))


def scrub_stored_versions(session: Session, scrub: Any) -> None:
    """Let `scrub` (bytes in, bytes out) change the cards of versions that lie in the database, inside `unprotected`."""
    for row in session.exec(select(VersionFileRow).where(col(VersionFileRow.name) == "router.json")):
        row.content = scrub(row.content)
        session.add(row)


def _runs(session: Session, labeller: str, judged: set[str], sessions: set[str]) -> list[RunRow]:
    """Return the runs that are this labeller's alone. Without their `sessions`, these are told from the comparisons."""
    own = {comparison for comparison, who in _firsts(session, judged).items() if who == labeller}
    found = _compared(session, own)
    sessions = sessions or _sessions(session, labeller, found.values())
    found = {run: row for run, row in found.items() if not row.session_id or row.session_id in sessions}
    found |= {row.id: row for row in _in(session, select(RunRow), RunRow.session_id, sessions)}
    asked = session.exec(select(RunRow).where(col(RunRow.requested_by) == labeller)).all()
    found |= {row.id: row for row in asked}
    others = _judged_by_others(session, labeller, set(found))
    return [row for run, row in found.items() if run not in others]


def _sessions(session: Session, labeller: str, runs: Iterable[RunRow]) -> set[str]:
    """Return the sessions of these runs in which nobody else was ever the first to judge."""
    found = set()
    for name in {run.session_id for run in runs if run.session_id}:
        own = set(session.exec(select(RunRow.id).where(col(RunRow.session_id) == name)))
        pairs = [*_in(session, select(ComparisonRow), ComparisonRow.run_a, own)]
        if set(_firsts(session, {pair.id for pair in pairs}).values()) <= {labeller}:
            found.add(name)
    return found


def _compared(session: Session, comparisons: set[str]) -> dict[str, RunRow]:
    pairs = _in(session, select(ComparisonRow), ComparisonRow.id, comparisons)
    runs = {run for pair in pairs for run in (pair.run_a, pair.run_b)}
    return {row.id: row for row in _in(session, select(RunRow), RunRow.id, runs)}


def _firsts(session: Session, comparisons: set[str]) -> dict[str, str]:
    """Return who was the first to judge each comparison."""
    query = select(LabelActRow).order_by(col(LabelActRow.id))
    firsts: dict[str, str] = {}
    for act in _in(session, query, LabelActRow.comparison_id, comparisons):
        firsts.setdefault(act.comparison_id, act.labeller_id)
    return firsts


def _judged_by_others(session: Session, labeller: str, runs: set[str]) -> set[str]:
    query = (
        select(ComparisonRow)
        .join(LabelActRow, col(LabelActRow.comparison_id) == col(ComparisonRow.id))
        .where(col(LabelActRow.labeller_id) != labeller)
    )
    rows = [*_in(session, query, ComparisonRow.run_a, runs), *_in(session, query, ComparisonRow.run_b, runs)]
    return {run for row in rows for run in (row.run_a, row.run_b)}


def _prompts(session: Session, runs: list[RunRow]) -> list[PromptRow]:
    """Return the prompts of these runs that people typed or files brought, and that no other run answers."""
    own = {row.id for row in runs}
    wanted = {row.prompt_id for row in runs}
    shared = {row.prompt_id for row in _in(session, select(RunRow), RunRow.prompt_id, wanted) if row.id not in own}
    found = _in(session, select(PromptRow), PromptRow.id, wanted - shared)
    return [row for row in found if row.source in ("typed", "import")]


def _in(session: Session, query: Any, column: Any, wanted: Iterable[str]) -> Iterator[Any]:
    """Yield the rows of `query` whose `column` is one of `wanted`. A statement holds a limited number of values."""
    ordered = sorted(wanted)
    for start in range(0, len(ordered), CHUNK):
        yield from session.exec(query.where(col(column).in_(ordered[start : start + CHUNK]))).all()


def _erase_run(session: Session, run: RunRow) -> list[str]:
    """Empty a run, its decisions and its trace. Return the files of the trace."""
    run.text, run.style, run.deleted_at = "", {}, run.deleted_at or now()
    run.error = DELETED if run.error else None
    session.add(run)
    for decision in session.exec(select(DecisionRow).where(col(DecisionRow.run_id) == run.id)):
        decision.explanation = {"evidence": "text", "sentence": DELETED}
        session.add(decision)
    trace = session.get(TraceRow, run.id)
    if trace is None:
        return []
    name = trace.path
    trace.inline, trace.path, trace.pruned_at = None, None, trace.pruned_at or now()
    trace.sha256 = hashlib.sha256(b"").hexdigest()
    session.add(trace)
    return [name] if name else []


def _erase_reasons(session: Session, labels: list[str]) -> int:
    found = list(_in(session, select(RationaleRow), RationaleRow.label_id, labels))
    for row in found:
        row.text, row.tags, row.deleted_at = "", [], now()
        session.add(row)
    return len(found)


def _drop_rows(session: Session, labeller: str, labels: list[str]) -> None:
    """Delete what a labeller said of aspects, and when they agreed and sat down to label."""
    found: list[Any] = list(_in(session, select(LabelAspectRow), LabelAspectRow.label_id, labels))
    for table in (ConsentRow, SittingRow):
        found += session.exec(select(table).where(col(table.labeller_id) == labeller)).all()
    for row in found:
        session.delete(row)


def _bury(session: Session, acts: Iterable[LabelActRow]) -> int:
    """Put a tombstone on every chain of acts, and empty what a vote says beside its choice. Return how many chains."""
    later = aliased(LabelActRow)
    buried = 0
    for act in acts:
        act.source_detail = {}
        session.add(act)
        has_later = session.exec(select(later.id).where(col(later.supersedes) == act.id)).first() is not None
        if has_later or act.action == "tombstone":
            continue
        buried += 1
        session.add(
            LabelActRow(
                comparison_id=act.comparison_id,
                labeller_id=act.labeller_id,
                action="tombstone",
                supersedes=act.id,
                source=act.source,
                client_token=f"tombstone {new_id()}",
            )
        )
    return buried


def _forget_neighbours(session: Session, texts: Collection[str]) -> list[str]:
    """Take the texts out of what routers showed other people: their nearest prompts. Return the files that go."""
    if not texts:
        return []
    shown = sa.cast(col(DecisionRow.explanation), sa.Text).like(f"%{Neighbours.kind}%")
    files = []
    for decision in session.exec(select(DecisionRow).where(shown)).all():
        prompts = decision.explanation.get("prompts") or []
        if not any(prompt in texts for prompt in prompts):
            continue
        events = [
            replace(event, evidence=_without(event.evidence, texts)) if isinstance(event, Decided) else event
            for event in _events(session, decision.run_id)
        ]
        decision.explanation = decision.explanation | {
            "prompts": [DELETED if prompt in texts else prompt for prompt in prompts]
        }
        session.add(decision)
        files += replace_trace(session, decision.run_id, events) if events else []
    return files


def _events(session: Session, run: str) -> list[Any]:
    trace = session.get(TraceRow, run)
    return [] if trace is None or trace.pruned_at is not None else load_trace(session, run)


def _without(evidence: Any, texts: Collection[str]) -> Any:
    if not isinstance(evidence, Neighbours):
        return evidence
    return replace(evidence, prompts=tuple(DELETED if prompt in texts else prompt for prompt in evidence.prompts))
