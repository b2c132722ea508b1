"""Store traces: every event of a run as gzipped JSON lines, in the row when small, else in a file.

On a server all of them are in their rows: another replica has other files.

A reopened run is drawn from these events, so they must come back exactly as they were.
"""

import contextlib
import gzip
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import Session

from playground.core.events import Event, from_dict, to_dict
from playground.errors import InvalidRequest, StorageError
from playground.store.tables import TraceRow

INLINE_LIMIT = 64 * 1024
RUN_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
DISK_REMEDY = "Free some space and try again; what was saved is safe."


def compress(events: Sequence[Event]) -> bytes:
    """Return the events as gzipped JSON lines. The same events always give the same bytes."""
    lines = "\n".join(json.dumps(to_dict(event), default=_plain, separators=(",", ":")) for event in events)
    return gzip.compress(lines.encode(), compresslevel=6, mtime=0)


def expand(blob: bytes) -> list[Event]:
    """Return the events that `compress` was given."""
    return [from_dict(json.loads(line)) for line in gzip.decompress(blob).decode().split("\n") if line]


def save_trace(session: Session, run_id: str, events: Sequence[Event]) -> None:
    """Store the trace of `run_id` in the open transaction. A file is safe on disk before its row is written.

    Raise InvalidRequest for a run id that cannot be a file name, StorageError when the disk refuses.
    """
    if not RUN_ID.match(run_id):
        raise InvalidRequest(f"{run_id[:80]!r} cannot be a run's id.", "Use letters, digits, - and _; at most 64.")
    blob = compress(events)
    folder: Path | None = session.info.get("folder")
    row = TraceRow(run_id=run_id, bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())
    if len(blob) <= INLINE_LIMIT or folder is None or not session.info.get("has_files", True):
        row.inline = blob
    else:
        row.path = f"traces/{run_id}.json.gz"
        _write_file(folder / row.path, blob)
    session.add(row)


def load_trace(session: Session, run_id: str) -> list[Event]:
    """Return every event of the run, identical to what was saved.

    Raise InvalidRequest for an unknown run, StorageError when its trace was pruned, lost or damaged.
    """
    row = session.get(TraceRow, run_id)
    if row is None:
        raise InvalidRequest(f"No run has the id {run_id[:80]!r}.", "Open one from the list of recent runs.")
    if row.pruned_at is not None:
        raise StorageError("The details of this run were deleted to save space.", "Run the prompt again.")
    blob = row.inline if row.inline is not None else _read_file(session.info.get("folder"), row.path or "")
    if hashlib.sha256(blob).hexdigest() != row.sha256:
        raise StorageError("The stored details of this run are damaged.", "Restore a backup, or run the prompt again.")
    return expand(blob)


def replace_trace(session: Session, run_id: str, events: Sequence[Event]) -> list[str]:
    """Store other events for a run, in the open transaction. Return the file that is no longer needed, if any.

    A large trace gets a new file, so the old one is whole until the transaction ends. Raise StorageError.
    """
    row = session.get_one(TraceRow, run_id)
    blob, before = compress(events), row.path
    row.bytes, row.sha256 = len(blob), hashlib.sha256(blob).hexdigest()
    if before is None:
        row.inline = blob
    else:
        row.path = f"traces/{run_id}-{row.sha256[:8]}.json.gz"
        folder: Path = session.info["folder"]
        _write_file(folder / row.path, blob)
    session.add(row)
    return [before] if before and before != row.path else []


def put_inline(session: Session, run_id: str) -> None:
    """Move the trace of a run from its file into its row. The file stays.

    Raise StorageError when it cannot be read.
    """
    row = session.get_one(TraceRow, run_id)
    if row.path is not None:
        row.inline, row.path = _read_file(session.info.get("folder"), row.path), None
        session.add(row)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored in a trace")


def _write_file(path: Path, blob: bytes) -> None:
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a full disk keeps no half of a file
            partial.unlink(missing_ok=True)
        raise StorageError(f"The run could not be saved: {error.strerror}.", DISK_REMEDY) from error


def _read_file(folder: Path | None, name: str) -> bytes:
    if folder is None:
        raise StorageError("The details of this run lie in a folder that is not set.", "Set PLAYGROUND_DATA_DIR.")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise StorageError(f"The details of this run cannot be read: {error.strerror}.", "Restore a backup.") from error
