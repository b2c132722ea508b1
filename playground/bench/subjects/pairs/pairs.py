"""`bench pairs`: whether a policy that chooses pairs learns routing from fewer labels than uniform choice."""

from pathlib import Path
from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.settings import Settings


@bench("pairs", title="Policies that choose what to compare, against uniform choice, on planted worlds.")
class Pairs(Bench):
    """Share of the routing gain after some labels, and the paired difference to uniform choice with its interval.

    The worlds are planted. With `votes`, a file of real votes is replayed too.
    """

    seeds: int = Field(20, ge=2, le=200, description="worlds, the same for every policy")
    flips: float = Field(0.0, ge=0, le=0.5, description="share of the labels that are turned round")

    votes: Path | None = Field(None, description="a file of real votes to replay too, as pandalm.jsonl.gz")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures by policy and number of labels."""
        # imports scientific libraries, which are not needed to list the commands
        from playground.learn.labels import pair_replay, pair_trials  # noqa: PLC0415

        votes = None
        if self.votes is not None:
            from playground.encode.encoder import Encoder  # noqa: PLC0415

            votes = pair_replay.read(self.votes, Encoder(settings).encode)
        return pair_trials.trial(seeds=self.seeds, flips=self.flips, votes=votes, tell=tell)
