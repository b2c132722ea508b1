"""`bench finetune`: how long a prompt router takes to learn from labels, and how much memory."""

from typing import Any

from pydantic import Field

from playground.bench.base import Bench, Tell, bench
from playground.settings import Settings


@bench("finetune", title="Learning from thousands of labels with cached embeddings: seconds, growth and memory.")
class Finetune(Bench):
    """Time and memory of one fine-tune of the linear router, at three sizes with a factor of ten between them."""

    labels: int = Field(50_000, ge=100, le=500_000, description="labels of the middle size")
    experts: int = Field(8, ge=2, le=64, description="experts in the pool")
    objective: str = Field("dpo", description="label objective, such as dpo or bt")

    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures of `growth.run`. Raise InvalidRequest for an unknown objective."""
        # imports torch, which takes seconds: too long for listing the commands
        from playground.bench.subjects.finetune import growth  # noqa: PLC0415

        sizes = (self.labels // 10, self.labels, self.labels * 10)
        return growth.run(sizes, experts=self.experts, objective=self.objective, tell=tell)
