"""Turn weight vectors into bytes and back: float32, little-endian, so that any machine and language can read them."""

import numpy as np

FLOAT32 = np.dtype("<f4")


def pack(values: np.ndarray) -> bytes:
    """Return the bytes of `values` (E,)."""
    return np.ascontiguousarray(values, dtype=FLOAT32).tobytes()


def unpack(blob: bytes) -> np.ndarray:
    """Return the (E,) float32 that `pack` was given."""
    return np.frombuffer(blob, dtype=FLOAT32).astype(np.float32)
