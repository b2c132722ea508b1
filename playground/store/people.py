"""Store labellers. They are known by an HMAC of what identifies them, and shown by a random handle."""

import hashlib
import hmac
import secrets
from pathlib import Path

from sqlmodel import Session, col, select

from playground.errors import StorageError
from playground.store.tables import LabellerRow

_SECRET_FILE = "labellers.key"


def labeller(session: Session, handle_key: str, *, kind: str = "person", role: str = "labeller") -> str:
    """Return the id of the labeller known by `handle_key` (a cookie, a user name). Make one on first sight.

    Only a keyed hash of `handle_key` is stored. Raise StorageError when the key file cannot be made.
    """
    digest = hmac.new(_secret(session), handle_key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    found = session.exec(select(LabellerRow.id).where(col(LabellerRow.auth_subject_hash) == digest)).first()
    if found is not None:
        return found
    row = LabellerRow(kind=kind, role=role, handle=secrets.token_hex(4), auth_subject_hash=digest)
    session.add(row)
    session.flush()
    return row.id


def _secret(session: Session) -> bytes:
    """Return 32 random bytes kept beside the database. A copied database alone therefore identifies nobody."""
    folder: Path | None = session.info.get("folder")
    if folder is None:
        return b"no folder: hashes are unkeyed"
    path = folder / _SECRET_FILE
    try:
        if not path.exists():
            partial = path.with_suffix(".part")  # the open write transaction keeps other processes out
            partial.touch(mode=0o600)
            partial.write_bytes(secrets.token_bytes(32))
            partial.replace(path)
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"The labellers' key cannot be stored: {error.strerror}.", "Set PLAYGROUND_DATA_DIR."
        ) from error
