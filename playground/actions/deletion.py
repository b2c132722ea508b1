"""Delete a person's labels on request: theirs by themselves, anybody's by the host.

Afterwards no copy of the texts is in the database file, in the versions or in the traces. Exports, backups and pushed
data sets are out of reach.
"""

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel import Session, select

from playground.actions.database import opened
from playground.actions.identity import require_admin, session_of
from playground.errors import InvalidRequest, StorageError
from playground.settings import Settings
from playground.store import deletion
from playground.store.database import Database
from playground.store.people import known_labeller
from playground.store.retention import delete_file
from playground.store.tables import RouterVersionRow

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

log = logging.getLogger(__name__)
CARD = "router.json"


@dataclass(frozen=True)
class Deleted:
    """Count what was deleted. `is_compact` says that the database file holds no remains of it."""

    labels: int
    prompts: int
    runs: int
    reasons: int
    is_compact: bool

    @property
    def sentence(self) -> str:
        """Return what happened, and what to do when remains are left."""
        told = (
            f"{self.labels} labels, {self.reasons} reasons, {self.prompts} prompts and {self.runs} answers are deleted."
        )
        if self.is_compact:
            return f"{told} The database holds no copy of them."
        return f"{told} Remains may be in the database file until it is compacted: `db compact` does that."


def delete_own(runtime: "Runtime", handle: str) -> Deleted:
    """Delete everything of the visitor with this handle. Raise InvalidRequest for somebody who gave nothing."""
    return _delete_own(runtime.database, runtime, handle)


def delete_of(runtime: "Runtime", name: str, *, password: str, address: str = "") -> Deleted:
    """Delete everything of the labeller with this id or shown handle, as the host.

    Raise NotPermitted without the admin password, InvalidRequest for an unknown labeller.
    """
    require_admin(runtime.settings, password, address=address)
    with runtime.database.read() as session:
        labeller = deletion.labeller_called(session, name.strip())
    return _forgotten(runtime, _delete(runtime.database, labeller))


def delete_by_name(settings: Settings, name: str) -> Deleted:
    """Delete everything of a labeller: by id, by shown handle, or by the secret that the labeller votes with."""
    with opened(settings) as database:
        with database.read() as session:
            own = known_labeller(session, name)
            labeller = own or deletion.labeller_called(session, name)
        return _delete(database, labeller, [session_of(name)] if own else [])


def compact(database: Database) -> bool:
    """Write the database file anew, without remains of deleted texts. Return False while somebody else keeps it open.

    On a server nothing is done: its own vacuum takes the remains.
    """
    if not database.is_sqlite:
        return False
    try:
        with database.direct() as cursor:
            cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except StorageError as error:
        log.warning("database not compacted reason=%s", error.message)
        return False
    return not busy


def compact_database(settings: Settings) -> bool:
    """Compact the database of `settings`, as `compact` does."""
    with opened(settings) as database:
        return compact(database)


def _delete_own(database: Database, runtime: "Runtime", handle: str) -> Deleted:
    with database.read() as session:
        labeller = known_labeller(session, handle)
    if labeller is None:
        raise InvalidRequest("You gave no labels here.", "There is nothing to delete.")
    return _forgotten(runtime, _delete(database, labeller, [session_of(handle)]))


def _delete(database: Database, labeller: str, sessions: Collection[str] = ()) -> Deleted:
    """Erase in one transaction, then delete files and compact the database."""
    with database.write() as session, deletion.unprotected(session):
        erased = deletion.erase(session, labeller, sessions)
        if erased.texts:
            deletion.scrub_stored_versions(session, lambda content: _scrubbed(content, erased.texts))
            _scrub_folders(session, database.folder, erased.texts)
    for name in erased.files:
        delete_file(database.folder, name)
    log.info("labels deleted labels=%s prompts=%s runs=%s", erased.labels, erased.prompts, erased.runs)
    return Deleted(erased.labels, erased.prompts, erased.runs, erased.reasons, compact(database))


def _forgotten(runtime: "Runtime", done: Deleted) -> Deleted:
    """Have routers read their versions anew: a loaded one still knows the texts."""
    runtime.versions.forget()
    return done


def _scrub_folders(session: Session, folder: Path | None, texts: Collection[str]) -> None:
    """Take the texts out of the cards of versions, and note the new hash of each folder that changed."""
    from playground.serving.versions import folder_hash  # noqa: PLC0415  (imports torch)

    if folder is None:
        return
    for row in session.exec(select(RouterVersionRow)).all():
        card = folder / "versions" / row.id / CARD
        before = card.read_bytes() if card.is_file() else b""
        after = _scrubbed(before, texts)
        if after != before:
            card.write_bytes(after)
        if deletion.DELETED.encode() in after:  # also after a deletion that was cut off between file and commit
            row.params_sha256 = folder_hash(card.parent)
            session.add(row)


def _scrubbed(content: bytes, texts: Collection[str]) -> bytes:
    """Return a card without the texts among the prompts that a router remembers."""
    if b'"prompts"' not in content:
        return content
    card = json.loads(content)
    prompts = [deletion.DELETED if prompt in texts else prompt for prompt in card["prompts"]]
    if prompts == card["prompts"]:
        return content
    return (json.dumps(card | {"prompts": prompts}, ensure_ascii=False, indent=1) + "\n").encode()
