"""`bench crowd`: a running page used by several visitors for minutes. Some never come back for their answers."""

from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.settings import Settings


@bench("crowd", title="A page in mixed use for minutes: memory, replies, and waiting times beside one who never stops.")
class Crowd(Bench):
    """Memory of the server and largest reply in mixed use. Then waiting times while one client sends without pause."""

    minutes: float = Field(30, gt=0, le=600, description="how long the page is used")
    settle: float = Field(5, ge=0, description="minutes until memory has to be flat")
    visitors: int = Field(3, ge=1, le=64, description="how many use it at once")
    pause: float = Field(0.5, ge=0, description="seconds that each rests between two actions")
    tokens: int = Field(32, ge=1, le=512, description="tokens of each answer")
    rounds: int = Field(3, ge=0, description="how often another visitor is timed beside one who never stops")
    flood: int = Field(40, ge=1, le=200, description="connections of the one who never stops")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures of `watching.run`."""
        # imports an HTTP client, which is not needed to list the commands
        from playground.bench.subjects.crowd import watching  # noqa: PLC0415

        return watching.run(self, settings, tell)
