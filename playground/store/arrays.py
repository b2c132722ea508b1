"""Weight vectors as bytes: float32, little-endian, so that any machine and any language can read them back."""

import numpy as np

FLOAT32 = np.dtype("<f4")


def pack(values: np.ndarray) -> bytes:
    """The bytes of `values` (E,)."""
    return np.ascontiguousarray(values, dtype=FLOAT32).tobytes()


def unpack(blob: bytes) -> np.ndarray:
    """(E,) float32 as `pack` was given it."""
    return np.frombuffer(blob, dtype=FLOAT32).astype(np.float32)
