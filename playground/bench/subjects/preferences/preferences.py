"""`bench preferences`: what is learned from labels, on planted worlds and on real votes."""

from pathlib import Path
from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.errors import InvalidRequest
from playground.settings import ROOT, Settings


@bench("preferences", title="What is learned from labels: planted worlds, and real votes on prompts not seen before.")
class Preferences(Bench):
    """Planted worlds whose answer is known, and sets of real votes by folds of prompts."""

    set: str = Field("", description="one set of votes instead of all; the worlds are then left out")
    test: Path | None = Field(None, description="a file of held-back votes of that set: learn from all of the set")
    data: Path | None = Field(None, description="folder of sets of votes, as NAME.jsonl.gz")
    seeds: int = Field(3, ge=1, le=50, description="how often the prompts are split, and the worlds are drawn")
    objectives: bool = Field(True, description="also measure every objective on the chosen form")
    world: str = Field("", description="one planted world instead of all; the sets are then left out")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures by world and by set. Raise InvalidRequest for an unknown one, or a file without votes."""
        # Both import torch, which takes seconds: too long for listing the commands.
        from playground.bench.subjects.preferences import real, votes  # noqa: PLC0415
        from playground.bench.subjects.preferences.worlds import planted  # noqa: PLC0415
        from playground.encode.encoder import Encoder  # noqa: PLC0415

        if self.test is not None and not (self.set and self.test.is_file()):
            raise InvalidRequest("--test needs a file, and --set the set it was held back from.", "Give both.")
        found: dict[str, Any] = {}
        if not self.set:
            found["worlds"] = planted.run(tell, seeds=self.seeds, name=self.world)
        if self.world:
            return found
        folder = votes.folder_of(self.data, settings.bench_data, ROOT)
        if folder is None:
            if self.set:
                raise InvalidRequest("There is no folder of preference sets.", "Name it with --data.")
            return found
        encode = Encoder(settings).encode
        found["sets"] = {}
        for name, path in votes.set_files(folder, self.set).items():
            read = votes.read_votes(path)
            if self.test is None:
                found["sets"][name] = real.cross_validated(
                    read, encode, seeds=self.seeds, every=self.objectives, tell=tell
                )
            else:
                found["sets"][name] = real.held_back(read, self.test, encode, every=self.objectives)
        return found
