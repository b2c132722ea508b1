"""The base model as an expert: the shared language model without any adapter. Only its card; the model is elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from playground.core.values import Expert
from playground.experts.base import Kind, expert_kind

BASE = Expert(
    name="base",
    kind="base",
    title="Base model",
    description="The shared language model as it is: small talk, open questions, facts, stories and poems.",
    mark="–",
    slot=-1,
    licence="Apache-2.0",
    examples=(
        "What is the capital of Australia?",
        "Write a short poem about the sea in winter.",
        "How are you today?",
        "Tell me a story about a dragon who is afraid of the dark.",
    ),
)


@expert_kind("base")
class BaseModels(Kind):
    """The one base model."""

    def experts(self, places: Sequence[Path]) -> list[Expert]:
        """Return the base model's card."""
        return [BASE]
