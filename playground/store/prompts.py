"""Store prompts and pools: one row for each distinct one, made on first use."""

import hashlib
import unicodedata
from collections.abc import Sequence

from sqlmodel import Session, col, select

from playground.store.rows import found_or_added
from playground.store.tables import PoolRow, PromptRow


def storable(text: str) -> str:
    """Return the text as both databases can hold it. Half surrogate pairs and NUL become replacement marks."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def prompt_hash(text: str) -> str:
    """Return the SHA-256 of the NFC-normalised text, so that a prompt typed on two systems is one prompt."""
    normal = unicodedata.normalize("NFC", storable(text))
    return hashlib.sha256(normal.encode()).hexdigest()


def prompt_id(session: Session, text: str, *, source: str = "typed") -> str:
    """Return the id of the prompt `text`. Add the prompt when it is new."""
    digest = prompt_hash(text)
    row = PromptRow(text=storable(text), text_hash=digest, group_id=digest, source=source)
    wanted = select(PromptRow.id).where(col(PromptRow.text_hash) == digest)
    return found_or_added(session, lambda: session.exec(wanted).first(), row) or row.id


def pool_id(session: Session, names: Sequence[str]) -> str:
    """Return the id of the pool of experts `names`, in that order. Add the pool when it is new."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]  # the same as Pool.hash
    row = PoolRow(hash=digest, names=list(names))
    wanted = select(PoolRow.id).where(col(PoolRow.hash) == digest)
    return found_or_added(session, lambda: session.exec(wanted).first(), row) or row.id


def typed_prompts(session: Session, *, limit: int) -> list[str]:
    """Return the newest prompts that people typed, at most `limit`, without deleted ones."""
    query = select(PromptRow.text).where(col(PromptRow.source) == "typed", col(PromptRow.deleted_at).is_(None))
    return [text for text in session.exec(query.order_by(col(PromptRow.id).desc()).limit(limit)) if text]
