"""Store runs: the request, the decisions and the answer. One transaction holds a run, its decisions and its trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlmodel import Session, col, select

from playground.core.daily import DatedUsage
from playground.core.events import Decided, Event, Failed, RunStarted, to_dict
from playground.core.fold import ending, fold_all
from playground.core.records import RunSummary
from playground.core.values import Sampling
from playground.errors import InvalidRequest
from playground.store.arrays import pack, unpack
from playground.store.prompts import pool_id, prompt_id, storable
from playground.store.rows import found_or_added
from playground.store.tables import DecisionRow, PoolRow, PromptRow, RouterVersionRow, RunRow
from playground.store.traces import load_trace, save_trace


@dataclass(frozen=True, eq=False)
class StoredRun:
    """Hold a run as it was stored. `usage` (E,) is over `experts`. `error` is None unless the run failed."""

    id: str
    created_at: datetime
    prompt: str
    text: str
    router: str
    version: str
    experts: tuple[str, ...]
    usage: np.ndarray
    sampling: Sampling
    base_model: str
    finish_reason: str
    session_id: str
    timings: dict[str, float]
    error: str | None


def save_run(
    session: Session,
    events: Sequence[Event],
    *,
    prompt: str,
    sampling: Sampling,
    base_model: str,
    session_id: str = "",
) -> None:
    """Store a run from its events, in the open transaction: prompt, run, decisions and trace.

    A run that failed is stored too. A run that was cut off gets an end. Raise ValueError when the first event is not
    RunStarted.
    """
    if not events or not isinstance(events[0], RunStarted):
        raise ValueError("the first event of a run must be RunStarted")
    started = events[0]
    pool = pool_id(session, started.pool)
    _ensure_version(session, started, pool)
    state = fold_all(events)
    outcome = ending(state)
    usage = np.asarray(outcome.usage, np.float32)
    row = RunRow(
        id=started.run_id,
        prompt_id=prompt_id(session, prompt),
        router_version_id=started.version,
        pool_id=pool,
        usage=pack(usage),
        session_id=session_id,
        seed=started.seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_new_tokens,
        base_model=base_model,
        text=storable(outcome.text),
        finish_reason=outcome.reason,
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.tokens,
        timings={name: float(value) for name, value in outcome.timings.items()},
        cost=outcome.cost,
        error=next((f"{e.stage}: {e.message}" for e in events if isinstance(e, Failed)), None),
    )
    session.add(row)
    session.flush()
    decided = [event for event in events if isinstance(event, Decided)]
    for step, event in enumerate(decided):
        session.add(_decision(event, step=step, run_id=row.id, usage=usage))
    save_trace(session, row.id, events if state.is_over else [*events, outcome])
    session.flush()


def load_events(session: Session, run_id: str) -> list[Event]:
    """Return every event of the run as it was saved, with its end. Raise InvalidRequest for an unknown run."""
    return load_trace(session, run_id)


def load_run(session: Session, run_id: str) -> StoredRun:
    """Return the run. Raise InvalidRequest for an unknown one."""
    query = (
        select(RunRow, PromptRow.text, RouterVersionRow.router, PoolRow.names)
        .join(PromptRow, col(PromptRow.id) == col(RunRow.prompt_id))
        .join(RouterVersionRow, col(RouterVersionRow.id) == col(RunRow.router_version_id))
        .join(PoolRow, col(PoolRow.id) == col(RunRow.pool_id))
        .where(col(RunRow.id) == run_id)
    )
    found = session.exec(query).first()
    if found is None:
        raise InvalidRequest(f"No run has the id {run_id[:80]!r}.", "Open one from the list of recent runs.")
    row, prompt, router, names = found
    return StoredRun(
        id=row.id,
        created_at=row.created_at,
        prompt=prompt,
        text=row.text,
        router=router,
        version=row.router_version_id,
        experts=tuple(names),
        usage=unpack(row.usage),
        sampling=Sampling(
            temperature=row.temperature,
            top_p=row.top_p,
            repetition_penalty=row.repetition_penalty,
            max_new_tokens=row.max_tokens,
            seed=row.seed,
        ),
        base_model=row.base_model,
        finish_reason=row.finish_reason,
        session_id=row.session_id,
        timings=row.timings,
        error=row.error,
    )


def recent_runs(session: Session, limit: int = 50, *, session_id: str | None = None) -> list[RunSummary]:
    """Return the newest runs first. `session_id` keeps only those of one visitor."""
    query = (
        select(
            RunRow.id,
            RunRow.created_at,
            PromptRow.text,
            RouterVersionRow.router,
            RunRow.router_version_id,
            PoolRow.names,
            RunRow.usage,
            RunRow.completion_tokens,
            RunRow.text,
        )  # type: ignore[call-overload]  # sqlmodel types select() for four columns
        .join(PromptRow, col(PromptRow.id) == col(RunRow.prompt_id))
        .join(RouterVersionRow, col(RouterVersionRow.id) == col(RunRow.router_version_id))
        .join(PoolRow, col(PoolRow.id) == col(RunRow.pool_id))
        .where(col(RunRow.deleted_at).is_(None))
        .order_by(col(RunRow.created_at).desc(), col(RunRow.id).desc())
        .limit(limit)
    )
    if session_id is not None:
        query = query.where(col(RunRow.session_id) == session_id)
    return [
        RunSummary(run, at, prompt, router, version, top_expert(names, unpack(usage)), tokens, text)
        for run, at, prompt, router, version, names, usage, tokens, text in session.exec(query)
    ]


def recent_usages(session: Session, limit: int) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Return (experts, usage (E,)) of the newest `limit` runs, newest first. Runs that used no expert are left out."""
    query = (
        select(PoolRow.names, RunRow.usage)
        .join(RunRow, col(RunRow.pool_id) == col(PoolRow.id))
        .where(col(RunRow.deleted_at).is_(None))
        .order_by(col(RunRow.created_at).desc(), col(RunRow.id).desc())
        .limit(limit)
    )
    found = [(tuple(names), unpack(usage)) for names, usage in session.exec(query)]
    return [(names, usage) for names, usage in found if len(usage) == len(names) and usage.max() > 0]


def usages_since(session: Session, since: datetime) -> list[DatedUsage]:
    """Return (moment, experts, usage (E,)) of all runs since `since` that used any expert. Their order is not fixed."""
    pools = {pool: tuple(names) for pool, names in session.exec(select(PoolRow.id, PoolRow.names))}
    query = select(RunRow.created_at, RunRow.pool_id, RunRow.usage).where(
        col(RunRow.created_at) >= since, col(RunRow.deleted_at).is_(None)
    )
    found = [(at, pools[pool], unpack(usage)) for at, pool, usage in session.exec(query)]
    return [(at, names, usage) for at, names, usage in found if len(usage) == len(names) and usage.max() > 0]


def top_expert(names: Sequence[str], usage: np.ndarray) -> str:
    """Return the expert with the most usage. It is empty when no expert was used."""
    return names[int(usage.argmax())] if usage.size and usage.max() > 0 else ""


def _ensure_version(session: Session, started: RunStarted, pool: str) -> None:
    """Add a row for the version of a run when there is none. A router without stored parameters needs this."""
    row = RouterVersionRow(
        id=started.version, router=started.router, level=started.level, pool_id=pool, note="first seen in a run"
    )
    wanted = select(RouterVersionRow.id).where(col(RouterVersionRow.id) == started.version)
    found_or_added(session, lambda: session.exec(wanted).first(), row)


def _decision(event: Decided, *, step: int, run_id: str, usage: np.ndarray) -> DecisionRow:
    served = float(event.propensity[int(usage.argmax())]) if usage.size and usage.max() > 0 else 0.0
    blended = event.scheme in ("mixture", "override") or not 0.0 < served <= 1.0 + 1e-6
    values = to_dict(event)
    beside = {"version": event.shadow, "weights": list(event.shadow_weights)} if event.shadow else None
    return DecisionRow(
        run_id=run_id,
        step=step,
        weights=pack(event.weights),
        propensities=pack(event.propensity),
        propensity=None if blended else min(served, 1.0),
        scheme=event.scheme,
        uncertainty=None if event.uncertainty is None else pack(event.uncertainty),
        explanation=values["evidence"] | ({"shadow": beside} if beside else {}),
    )
