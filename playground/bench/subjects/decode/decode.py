"""`bench decode`: how fast tokens come, and what int8 weights do to answers."""

from pathlib import Path
from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.errors import InvalidRequest
from playground.settings import SMALL_DATA, Settings


@bench("decode", title="Tokens a second, routed and observed, as ratios to the library's own plain generation.")
class Decode(Bench):
    """Decoding speed, alone and against the library's own `generate`."""

    rounds: int = Field(5, ge=1, description="how often each way is timed")
    tokens: int = Field(64, ge=2, description="tokens of each answer")
    answers: bool = Field(True, description="also measure what int8 weights do to answers")
    data: Path | None = Field(None, description="folder of data sets for that, with test rows")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures of `speed.run`, and those of `formats.run` as `int8` unless `answers` is off."""
        folder = self.data or settings.bench_data or SMALL_DATA
        if not folder.is_dir():
            raise InvalidRequest(f"There is no folder {folder}.", "Correct --data or PLAYGROUND_BENCH_DATA.")
        # Both import torch, which takes seconds: too long for listing the commands.
        from playground.bench.subjects.decode import formats, speed  # noqa: PLC0415

        found = speed.run(settings, tell, rounds=self.rounds, tokens=self.tokens)
        if self.answers:
            tell("comparing the answers with int8 weights")
            found["int8"] = formats.run(settings, folder, tokens=self.tokens)
        return found
