"""Attention of a finished run, computed on demand: one layer, or every head and the rollout, with progress and stop."""

import base64
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.errors import InvalidRequest, PlaygroundError
from playground.ui.failures import words_of

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

MOST_JOBS = 64
LEFT_SECONDS = 30.0  # a page that has not asked how far its computation is for so long has left


class Stopped(InvalidRequest):
    """The visitor stopped the computation."""


def as_bytes(shares: np.ndarray) -> str:
    """Return shares in 0…1 as base64 of one byte each, row-major."""
    return base64.b64encode(np.rint(np.clip(shares.astype(np.float32), 0, 1) * 255).astype(np.uint8).tobytes()).decode()


def as_floats(shares: np.ndarray) -> str:
    """Return shares as base64 of float32, little-endian, row-major: for shares too small for a byte."""
    return base64.b64encode(np.ascontiguousarray(shares, "<f4").tobytes()).decode()


@dataclass
class Computation:
    """Hold how far a computation is, whether it is still wanted, and when its page last asked."""

    done: int = 0
    layers: int = 0
    is_wanted: bool = True
    asked: float = field(default_factory=time.monotonic)


class AttentionOnDemand:
    """Computes the attention that the run view asks for. Arguments come from the browser and are checked here.

    A running computation is kept under the random name that its page gave it.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime
        self._jobs: dict[str, Computation] = {}
        self._lock = threading.Lock()

    def server_functions(self) -> list[Any]:
        """Return the functions that the page can call. The framework needs plain functions, not methods."""

        def attention(asked: Any) -> dict[str, Any]:
            """Return all heads of one layer of a stored run: (H, M, M) as bytes."""
            return self.layer(asked)

        def attention_all(asked: Any) -> dict[str, Any]:
            """Return every head as a small map, and the rollout."""
            return self.overview(asked)

        def attention_progress(asked: Any) -> dict[str, Any]:
            """Return how far `attention_all` is. With `stop` it ends after the current layer."""
            return self.progress(asked)

        return [attention, attention_all, attention_progress]

    def layer(self, asked: Any) -> dict[str, Any]:
        """Return all heads of one layer of a stored run, or {error}."""
        try:
            run_id, number = str(asked["run"])[:64], int(asked["layer"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return {"error": "This run has no such layer. Choose another one."}
        try:
            heads, tokens = self.runtime.attention(run_id, number)
        except PlaygroundError as error:
            return {"error": words_of(error)}
        return {"heads": heads.shape[0], "size": heads.shape[1], "tokens": tokens, "data": as_bytes(heads)}

    def overview(self, asked: Any) -> dict[str, Any]:
        """Return every head of a stored run as bytes and the rollout as floats, or {stopped}, or {error}."""
        try:
            run_id, name = str(asked["run"])[:64], str(asked["job"])[:40]
        except (KeyError, TypeError):
            return {"error": "No run was named. Open one, then try again."}
        with self._lock:
            if len(self._jobs) >= MOST_JOBS:
                return {"error": "Too many pictures are being computed. Try again in a minute."}
            job = self._jobs.setdefault(name, Computation())

        def on_layer(done: int, layers: int) -> None:
            job.done, job.layers = done, layers
            if not job.is_wanted or time.monotonic() - job.asked > LEFT_SECONDS:
                raise Stopped("Stopped.")

        try:
            found = self.runtime.attention_overview(run_id, on_layer)
        except Stopped:
            return {"stopped": True}
        except PlaygroundError as error:
            return {"error": words_of(error)}
        finally:
            with self._lock:
                self._jobs.pop(name, None)
        layers, heads, small, _ = found.heads.shape
        sizes = {"layers": layers, "heads": heads, "small": small, "size": len(found.rollout)}
        return {**sizes, "tokens": found.tokens, "data": as_bytes(found.heads), "rollout": as_floats(found.rollout)}

    def progress(self, asked: Any) -> dict[str, Any]:
        """Return {done, layers} of a running computation, or {} when none has that name."""
        try:
            name, stop = str(asked["job"])[:40], bool(asked.get("stop"))
        except (KeyError, TypeError, AttributeError):
            return {}
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            return {}
        job.asked = time.monotonic()
        job.is_wanted = job.is_wanted and not stop
        return {"done": job.done, "layers": job.layers}
