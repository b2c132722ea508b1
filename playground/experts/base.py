"""What a tool expert is: a prompt in, a result that is right or a clear refusal out.

Source: MRKL (arXiv:2205.00445). Knows nothing of routers or of the language model.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ToolResult:
    """`query` is what the tool understood, `result` the bare value, `sentence` what is shown, `seconds` what it took.

    When `ok` is False, `result` is empty and `sentence` says why.
    """

    query: str
    result: str
    sentence: str
    ok: bool
    seconds: float


class Refused(ValueError):
    """A tool will not compute this. The message is a sentence that says why, fit for a visitor."""


class Tool(Protocol):
    """An expert that computes its answer."""

    @property
    def name(self) -> str:
        """The expert's name in a pool."""
        ...

    def answer(self, prompt: str) -> ToolResult:
        """What the tool makes of `prompt`, within its time limit. Never raises for anything a person may type."""
        ...

    def close(self) -> None:
        """Free what the tool holds; it may be used again."""
        ...
