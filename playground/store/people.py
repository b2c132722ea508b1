"""Store labellers. They are known by an HMAC of what identifies them, and shown by a random handle.

The key of the HMAC is a setting, else it lies beside a SQLite file, else in the database: replicas on one server share
it there.
"""

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from sqlmodel import Session, col, select

from playground.errors import StorageError
from playground.store.rows import found_or_added
from playground.store.tables import LabellerRow, SecretRow

KEY_FILE = "labellers.key"
KEY_NAME = "labellers"
IMPORTED = "import: "  # no handle of a visitor holds a space
MAX_HANDLE = 32


def labeller(session: Session, handle_key: str, *, kind: str = "person", role: str = "labeller") -> str:
    """Return the id of the labeller known by `handle_key` (a cookie, a user name). Make one on first sight.

    Only a keyed hash of `handle_key` is stored. Raise StorageError when the key file cannot be made.
    """
    digest = _digest(_key_to_write_with(session), handle_key)
    row = LabellerRow(kind=kind, role=role, handle=secrets.token_hex(4), auth_subject_hash=digest)
    return found_or_added(session, lambda: _known(session, digest), row) or row.id


def importer(session: Session, name: str) -> str:
    """Return the id of the labeller that a file calls `name`. Make one on first sight, shown under that name.

    A name of more than 32 characters is shown as a hash.
    """
    digest = _digest(_key_to_write_with(session), f"{IMPORTED}{name}")
    shown = name if len(name) <= MAX_HANDLE else hashlib.sha256(name.encode()).hexdigest()[:MAX_HANDLE]
    row = LabellerRow(kind="importer", handle=shown, auth_subject_hash=digest)
    return found_or_added(session, lambda: _known(session, digest), row) or row.id


def known_labeller(session: Session, handle_key: str) -> str | None:
    """Return the id of the labeller known by `handle_key`. Return None for somebody who never acted. Write nothing."""
    key = _key(session)
    return None if key is None else _known(session, _digest(key, handle_key))


def unnamed_handle(session: Session, address: str) -> str:
    """Return the handle of the clients at one network address that give no name. Nobody can compute it elsewhere."""
    digest = hmac.new(_key_to_write_with(session), f"unnamed:{address}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()


def keep_key_in_database(session: Session) -> None:
    """Write the labellers' key into the database, so that the file alone is a whole copy."""
    key = _in_file(session)
    if key is not None and _stored(session) is None:
        session.add(SecretRow(name=KEY_NAME, value=key))


def _known(session: Session, digest: str) -> str | None:
    return session.exec(select(LabellerRow.id).where(col(LabellerRow.auth_subject_hash) == digest)).first()


def _digest(key: bytes, handle_key: str) -> str:
    return hmac.new(key, handle_key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _key(session: Session) -> bytes | None:
    """Return the labellers' key, if there is one yet. On a server, a file counts until the database has a key."""
    given: str = session.info.get("labeller_key", "")
    if given:
        return hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
    if not _has_files(session):
        return _stored(session) or _in_file(session)
    if _path(session) is None:
        return b"no folder: hashes are unkeyed"
    return _in_file(session) or _stored(session)  # a restored backup holds the key itself


def _key_to_write_with(session: Session) -> bytes:
    """Return the labellers' key. Make and keep it on first use."""
    found = _key(session)
    if session.info.get("labeller_key") or (found and _has_files(session)):
        return found or b""
    made = found or secrets.token_bytes(32)
    if _has_files(session):
        _keep_in_file(session, made)
        return made
    row = SecretRow(name=KEY_NAME, value=made)
    return found_or_added(session, lambda: _stored(session), row) or made


def _keep_in_file(session: Session, key: bytes) -> None:
    """Keep the key beside the database. A copied database alone therefore identifies nobody."""
    path = _path(session)
    if path is None:
        return
    try:
        partial = path.with_suffix(".part")  # the open write transaction keeps other processes out
        partial.touch(mode=0o600)
        partial.write_bytes(key)
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"The labellers' key cannot be stored: {error.strerror}.", "Set PLAYGROUND_DATA_DIR."
        ) from error


def _in_file(session: Session) -> bytes | None:
    path = _path(session)
    try:
        return path.read_bytes() if path is not None and path.exists() else None
    except OSError as error:
        raise StorageError(
            f"The labellers' key cannot be read: {error.strerror}.", "Make it readable, or set PLAYGROUND_DATA_DIR."
        ) from error


def _has_files(session: Session) -> bool:
    """Return whether one machine alone uses the database: a SQLite file."""
    return bool(session.info.get("has_files", True))


def _stored(session: Session) -> bytes | None:
    return session.exec(select(SecretRow.value).where(col(SecretRow.name) == KEY_NAME)).first()


def _path(session: Session) -> Path | None:
    folder: Path | None = session.info.get("folder")
    return None if folder is None else folder / KEY_FILE
