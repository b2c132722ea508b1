"""What an expert outside the model is: a request in, events out. Tools are the first kind.

Source: MRKL (arXiv:2205.00445). Knows nothing of routers or of the language model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np

from playground.core.events import Event, TokenGenerated, ToolCalled
from playground.core.plugins import Plugins
from playground.core.values import Expert, Sampling

OUTSIDE = -1  # the token id of a piece of text that the shared model did not make


@dataclass(frozen=True)
class AnswerRequest:
    """What an expert outside the model is asked."""

    prompt: str
    sampling: Sampling = field(default_factory=Sampling)


class Answerer(ABC):
    """An expert outside the model. `is_written` says that the model writes its words, so that their trace is seen."""

    is_written: ClassVar[bool] = False

    @abstractmethod
    def answer(self, request: AnswerRequest) -> Iterator[Event]:
        """Yield what happens: `ToolCalled` where something is computed, then `piece(text)` for each part of the answer.

        An answerer that cannot answer yields no piece. It never raises for anything a person may type.
        """

    def close(self) -> None:
        """Free what the expert holds; it may be used again."""
        return


def piece(text: str, index: int = 0) -> TokenGenerated:
    """Return a part of an answer from outside the model. The recorder fills in who wrote it."""
    return TokenGenerated(index=index, text=text, token_id=OUTSIDE, weights=np.zeros(0, np.float32))


class Refused(ValueError):
    """A tool will not compute this. The message is a sentence that says why, fit for a visitor."""


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


class Tool(Answerer):
    """An expert that computes its answer exactly, or refuses. `card` is what the page and the routers know of it."""

    is_written = True
    card: ClassVar[Expert]

    @abstractmethod
    def compute(self, prompt: str) -> ToolResult:
        """Return what the tool makes of `prompt`, within its time limit. Never raise for what a person may type."""

    def answer(self, request: AnswerRequest) -> Iterator[Event]:
        """Yield one `ToolCalled`, and the sentence when the tool could answer."""
        found = self.compute(request.prompt)
        yield ToolCalled(
            expert=self.card.name,
            query=found.query,
            result=found.result if found.ok else found.sentence,
            ok=found.ok,
            seconds=found.seconds,
        )
        if found.ok:
            yield piece(found.sentence)


TOOLS: Plugins[type[Tool]] = Plugins("tool", "playground.experts.tools")
T = TypeVar("T", bound=type[Tool])


def tool(
    name: str, *, title: str, description: str, mark: str, slot: int, licence: str, examples: tuple[str, ...] = ()
) -> Callable[[T], T]:
    """Register a tool class under `name`, with its card. Raise ValueError for a taken name or an empty title."""
    if not title or not description:
        raise ValueError(f"tool {name!r} needs a title and a description")

    def add(cls: T) -> T:
        cls.card = Expert(name, "tool", title, description, mark, slot, licence=licence, examples=examples)
        return TOOLS.register(name, cls)  # type: ignore[return-value]

    return add
