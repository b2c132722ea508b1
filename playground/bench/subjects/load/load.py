"""`bench load`: several visitors at once in one process."""

from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.settings import Settings


@bench("load", title="Visitors with routers of their own at once: speed over one, mixed-up runs, lost votes.")
class Load(Bench):
    """Speed, mix-ups and lost votes when many use the playground together."""

    visitors: int = Field(8, ge=1, description="how many run at once")
    rounds: int = Field(3, ge=1, description="how often all run alone and together")
    tokens: int = Field(48, ge=2, description="tokens of each answer")
    votes: int = Field(25, ge=1, description="votes of each visitor")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures of `visitors.run`."""
        # Imports the whole application, which takes seconds: too long for listing the commands.
        from playground.bench.subjects.load import visitors  # noqa: PLC0415

        return visitors.run(
            settings, tell, visitors=self.visitors, tokens=self.tokens, rounds=self.rounds, votes=self.votes
        )
