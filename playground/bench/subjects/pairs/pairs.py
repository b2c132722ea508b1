"""`bench pairs`: whether a policy that chooses pairs learns routing from fewer labels than uniform choice."""

from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.settings import Settings


@bench("pairs", title="Policies that choose what to compare, against uniform choice, on planted worlds.")
class Pairs(Bench):
    """Share of the routing gain after some labels, and the paired difference to uniform choice with its interval."""

    seeds: int = Field(20, ge=2, le=200, description="worlds, the same for every policy")
    flips: float = Field(0.0, ge=0, le=0.5, description="share of the labels that are turned round")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures by policy and number of labels."""
        # imports scientific libraries, which are not needed to list the commands
        from playground.learn.labels import pair_trials  # noqa: PLC0415

        return pair_trials.trial(seeds=self.seeds, flips=self.flips, tell=tell)
