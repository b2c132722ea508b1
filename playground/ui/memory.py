"""Gives freed memory back to the system. The C library keeps it for later, in a collection for each thread."""

import ctypes
from functools import lru_cache
from typing import Any


@lru_cache
def _trim() -> Any:
    """Return the function of the C library that does it, or None where there is none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> bool:
    """Give back what is free. Return whether there was any. False where the C library cannot do it."""
    trim = _trim()
    return bool(trim is not None and trim(0))
