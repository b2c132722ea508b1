"""Memory that was freed goes back to the system."""

import ctypes
from pathlib import Path

import pytest

from playground.ui.memory import give_back

MEGABYTE = 2**20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc can; nothing ends this elsewhere")
def test_what_lies_free_between_pieces_in_use_goes_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    pieces = [libc.malloc(64_000) for _ in range(1600)]
    for piece in pieces:
        ctypes.memset(piece, 1, 64_000)
    last = libc.malloc(64_000)  # in use, so that the end of the heap cannot shrink by itself
    for piece in pieces:
        libc.free(piece)
    before = resident()
    assert give_back()
    assert resident() < before - 50 * MEGABYTE
    libc.free(last)
