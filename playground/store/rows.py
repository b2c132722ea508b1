"""Add a row that must be there once, although another replica may add it in the same moment."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlmodel import Session, SQLModel

T = TypeVar("T")


def found_or_added(session: Session, find: Callable[[], T | None], row: SQLModel) -> T | None:
    """Return what `find` finds, or add `row` and return None.

    A server lets several writers work at once. The one that comes second waits for the first, is refused, and then
    finds the row of the first. The open transaction goes on.
    """
    found = find()
    if found is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except sa.exc.IntegrityError:
        found = find()
        if found is None:
            raise
    return found
