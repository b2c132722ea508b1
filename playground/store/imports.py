"""Store labels that came from a file: prompt, two answers and a verdict each, in one transaction.

An import only adds. A row that is here already, by its id or as the same row of an earlier import, is left as it is.
Routers and versions of a file stand under names of their own, so that no import can look like a version of this
playground.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from playground.core.events import Finished, RunStarted
from playground.core.records import LabelRow, Side
from playground.store.arrays import pack
from playground.store.people import importer
from playground.store.prompts import pool_id, prompt_hash, storable
from playground.store.tables import (
    ComparisonRow,
    LabelActRow,
    PromptRow,
    RationaleRow,
    RouterVersionRow,
    RunRow,
    TraceRow,
)
from playground.store.tables.columns import new_id, now
from playground.store.traces import compress

CHUNK = 500
ULID_TEXT = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
ROUTER = "import"


@dataclass(frozen=True)
class Imported:
    """Count what an import did: labels that were added, and rows that were here already."""

    added: int
    existing: int


@dataclass(eq=False)
class _Batch:
    """Collect the rows of one import, so that each table is written at once."""

    session: Session
    time: datetime
    rows: dict[type[SQLModel], list[dict[str, Any]]] = field(default_factory=dict)
    known: dict[tuple[str, ...], str] = field(default_factory=dict)
    defaults: dict[type[SQLModel], dict[str, Any]] = field(default_factory=dict)

    def add(self, table: type[SQLModel], **values: Any) -> None:
        """Collect a row. Each call for a table names the same columns, so the rest is the same in all its rows."""
        if table not in self.defaults:
            self.defaults[table] = table(**values).model_dump()
        self.rows.setdefault(table, []).append(self.defaults[table] | values)

    def write(self) -> None:
        order = (PromptRow, RunRow, TraceRow, ComparisonRow, LabelActRow, RationaleRow)
        for table in order:
            if self.rows.get(table):
                self.session.execute(sa.insert(table), self.rows[table])


def import_labels(session: Session, rows: Sequence[LabelRow], *, name: str, unknown_time: datetime) -> Imported:
    """Add the labels of a file called `name` in the open transaction. Raise StorageError when the disk refuses.

    Rows of one comparison in the file are one comparison here, if they hold the same prompt and answers. A row whose
    time is `unknown_time` gets the time of the import.
    """
    batch = _Batch(session, now())
    tokens = _tokens(rows)
    there = _there(session, rows, tokens)
    fresh = [(row, token) for row, token, seen in zip(rows, tokens, there, strict=True) if not seen]
    _find_prompts(batch, [row for row, _ in fresh])
    for row, token in fresh:
        _add(batch, row, token, name=name, time=batch.time if row.created_at == unknown_time else row.created_at)
    batch.write()
    session.flush()
    return Imported(len(fresh), len(rows) - len(fresh))


def _tokens(rows: Sequence[LabelRow]) -> list[str]:
    """Return the client token of each row: a hash of what it says, and how often the file said it before."""
    seen: Counter[str] = Counter()
    found = []
    for row in rows:
        said = [
            *(row.label_id, row.comparison_id, row.created_at.isoformat(), row.labeller, row.prompt),
            *(row.a.text, row.b.text, row.a.expert, row.b.expert, row.verdict.name, row.rationale),
        ]
        digest = hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()
        seen[digest] += 1
        found.append(hashlib.sha256(f"import:{digest}:{seen[digest]}".encode()).hexdigest())
    return found


def _there(session: Session, rows: Sequence[LabelRow], tokens: Sequence[str]) -> list[bool]:
    """Return for each row whether it is here: imported before, or exported from this very database."""
    ids = set(_found(session, LabelActRow.id, [row.label_id for row in rows if ULID_TEXT.fullmatch(row.label_id)]))
    known = set(_found(session, LabelActRow.client_token, list(tokens)))
    return [row.label_id in ids or token in known for row, token in zip(rows, tokens, strict=True)]


def _found(session: Session, column: Any, wanted: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(wanted), CHUNK):
        yield from session.exec(select(column).where(col(column).in_(wanted[start : start + CHUNK])))


def _find_prompts(batch: _Batch, rows: Sequence[LabelRow]) -> None:
    """Find the prompts that are here, and add the others."""
    texts = {prompt_hash(row.prompt): row for row in rows}
    hashes = list(texts)
    for start in range(0, len(hashes), CHUNK):
        query = select(PromptRow.text_hash, PromptRow.id).where(
            col(PromptRow.text_hash).in_(hashes[start : start + CHUNK])
        )
        batch.known |= {("prompt", digest): key for digest, key in batch.session.exec(query)}
    for digest, row in texts.items():
        if ("prompt", digest) not in batch.known:
            key = batch.known["prompt", digest] = new_id()
            batch.add(
                PromptRow,
                id=key,
                text=storable(row.prompt),
                text_hash=digest,
                group_id=digest,
                source="import",
                category=storable(row.category) or None,
                created_at=batch.time,
            )


def _add(batch: _Batch, row: LabelRow, token: str, *, name: str, time: datetime) -> None:
    comparison = _comparison(batch, row, token, time)
    label = row.label_id if ULID_TEXT.fullmatch(row.label_id) else new_id()
    batch.add(
        LabelActRow,
        id=label,
        comparison_id=comparison,
        labeller_id=_labeller(batch, storable(row.labeller)),
        action="vote",
        choice=row.verdict.choice,
        strength=row.verdict.strength,
        source="import",
        source_detail=_plain(row.source_detail) | {"file": storable(name)[:128]},
        revealed_before=row.revealed_before,
        lead_ms=row.lead_ms,
        client_token=token,
        created_at=time,
    )
    if row.rationale or row.tags:
        tags = [storable(tag)[:64] for tag in row.tags]
        batch.add(RationaleRow, id=new_id(), label_id=label, text=storable(row.rationale), tags=tags, created_at=time)


def _plain(detail: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(storable(json.dumps(detail, ensure_ascii=False)))
    return kept


def _comparison(batch: _Batch, row: LabelRow, token: str, time: datetime) -> str:
    """Return the comparison of a row. Rows of one id, prompt and pair of answers share it.

    The first of them says which answer is left.
    """
    named = row.comparison_id or token
    key = ("comparison", named, prompt_hash(row.prompt), row.a.text, row.b.text, row.a.expert, row.b.expert)
    if key not in batch.known:
        batch.known[key] = new_id()
        first, second = sorted((new_id(), new_id()))
        prompt = batch.known["prompt", prompt_hash(row.prompt)]
        for run, side in ((first, row.a), (second, row.b)):
            _run(batch, run, side, prompt=prompt, text=row.prompt, time=time)
        batch.add(
            ComparisonRow,
            id=batch.known[key],
            prompt_id=prompt,
            run_a=first,
            run_b=second,
            left_run=first if row.left == "a" else second,
            selection=row.selection,
            pair_propensity=row.pair_propensity,
            blind=row.blind,
            created_at=time,
        )
    return batch.known[key]


def _run(batch: _Batch, run: str, side: Side, *, prompt: str, text: str, time: datetime) -> None:
    pool = _once(batch, ("pool", *side.experts), lambda: pool_id(batch.session, side.experts))
    version = _once(batch, ("version", side.router, side.version), lambda: _version(batch.session, side))
    events = (
        RunStarted(storable(text), ROUTER, version, "prompt", side.experts, 0, 0, 0, run_id=run),
        Finished(storable(side.text), side.usage, 0, 0, {}, "stop", run_id=run, seq=1),
    )
    blob = compress(events)
    batch.add(
        RunRow,
        id=run,
        prompt_id=prompt,
        router_version_id=version,
        pool_id=pool,
        usage=pack(side.usage),
        seed=0,
        temperature=0.0,
        top_p=1.0,
        repetition_penalty=1.0,
        max_tokens=0,
        text=storable(side.text),
        finish_reason="stop",
        prompt_tokens=0,
        completion_tokens=0,
        timings={},
        created_at=time,
    )
    batch.add(TraceRow, run_id=run, inline=blob, bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())


def _version(session: Session, side: Side) -> str:
    """Return the version that a side names, if it is of this playground, else a version that stands for the file's."""
    row = session.get(RouterVersionRow, side.version) if side.version else None
    if row is not None and row.router == side.router:
        return row.id
    router = storable(f"{ROUTER} {side.router}".strip())[:40]
    version = storable(f"{ROUTER} {side.version or side.router}".strip())[:128]
    if session.get(RouterVersionRow, version) is None:
        session.add(RouterVersionRow(id=version, router=router, level="prompt", note="named by imported labels"))
        session.flush()
    return version


def _labeller(batch: _Batch, name: str) -> str:
    return _once(batch, ("labeller", name), lambda: importer(batch.session, name))


def _once(batch: _Batch, key: tuple[str, ...], make: Any) -> str:
    if key not in batch.known:
        batch.known[key] = make()
    return batch.known[key]
