"""Define an expert outside the model: it takes a request and yields events. Also register kinds and tools.

Source: MRKL (arXiv:2205.00445). This module knows nothing of routers or of the language model.
"""

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar, get_args

import numpy as np

from playground.core.events import Event, TokenGenerated, ToolCalled
from playground.core.plugins import Plugins
from playground.core.values import Expert, ExpertKind, Sampling
from playground.errors import PlaygroundError

OUTSIDE = -1  # the token id of a piece of text that the shared model did not make
MAX_QUERY = 200  # letters of a prompt that are shown when a tool understood nothing
SLOTS = 10  # colours of the palette


@dataclass(frozen=True)
class AnswerRequest:
    """What an expert outside the model is asked."""

    prompt: str
    sampling: Sampling = field(default_factory=Sampling)


class Answerer(ABC):
    """An expert outside the model. With `is_written`, the model writes its words, so the page can show their trace."""

    is_written: ClassVar[bool] = False

    @abstractmethod
    def answer(self, request: AnswerRequest) -> Iterator[Event]:
        """Yield what happens: `ToolCalled` where something is computed, then `piece(text)` for each part of the answer.

        An answerer that cannot answer yields no piece. It never raises for anything a person may type.
        """

    def close(self) -> None:
        """Free what the expert holds. The expert may be used again afterwards."""
        return


def piece(text: str, index: int = 0) -> TokenGenerated:
    """Return a part of an answer from outside the model. The recorder fills in who wrote it."""
    return TokenGenerated(index=index, text=text, token_id=OUTSIDE, weights=np.zeros(0, np.float32))


# --- kinds of expert --------------------------------------------------------------------------------------------


class Kind(ABC):
    """One kind of expert: which experts of it are installed, and who answers for those outside the model."""

    @abstractmethod
    def experts(self, places: Sequence[Path]) -> list[Expert]:
        """Return the installed experts in the order they are shown. Never raise: a broken one is not ready.

        `places` are folders of adapters: the shipped one first, then those that hold what people added. A kind that
        keeps nothing there ignores them. Without places, return the experts that are always there.
        """

    def answerers(self) -> Mapping[str, Answerer]:
        """Return who answers, by the expert's name. Empty for experts that are part of the model."""
        return {}


EXPERT_KINDS: Plugins[Kind] = Plugins("expert kind", "playground.experts")
K = TypeVar("K", bound=type[Kind])


def expert_kind(name: ExpertKind) -> Callable[[K], K]:
    """Register a class as the kind `name`. Raise ValueError for a name that no expert's `kind` can have."""
    if name not in get_args(ExpertKind):
        raise ValueError(f"{name!r} is not a kind of expert: use one of {', '.join(get_args(ExpertKind))}")

    def add(cls: K) -> K:
        EXPERT_KINDS.register(name, cls())
        return cls

    return add


def kinds() -> list[Kind]:
    """Return the kinds of expert in the order of `ExpertKind`, which is their order in a pool."""
    return [EXPERT_KINDS.get(name) for name in get_args(ExpertKind) if name in EXPERT_KINDS]


def kept_names() -> frozenset[str]:
    """Return the names of the experts that are always there. No adapter may take one of them."""
    return frozenset(expert.name for kind in kinds() for expert in kind.experts(()))


# --- tools --------------------------------------------------------------------------------------------------------


class Refused(ValueError):
    """A tool will not compute this. The message is a sentence that says why, fit for a visitor.

    `query` is what the tool understood before it refused, if anything.
    """

    def __init__(self, message: str, *, query: str = "") -> None:
        super().__init__(message)
        self.query = query


@dataclass(frozen=True)
class Solution:
    """What a tool worked out: `query` is what it understood, `result` the bare value, `sentence` what is shown."""

    query: str
    result: str
    sentence: str


@dataclass(frozen=True)
class ToolResult:
    """What a tool made of a prompt.

    `query` is what it understood, `result` the bare value, `sentence` what is shown, `seconds` the time it took.
    When `ok` is False, `result` is empty and `sentence` says why.
    """

    query: str
    result: str
    sentence: str
    ok: bool
    seconds: float


class Tool(Answerer):
    """An expert that computes its answer exactly, or refuses. `card` is what the page and the routers know of it.

    A tool is made without arguments, once for each process that answers.
    """

    is_written = True
    card: ClassVar[Expert]

    @abstractmethod
    def solve(self, prompt: str) -> Solution:
        """Return what the tool works out, within its time limit. Raise Refused for a prompt that is not its work."""

    def compute(self, prompt: str) -> ToolResult:
        """Return what the tool makes of `prompt`, a refusal included. Never raise for what a person may type."""
        started = time.perf_counter()
        try:
            solved = self.solve(prompt)
        except (Refused, PlaygroundError) as refusal:
            query = getattr(refusal, "query", "") or prompt.strip()[:MAX_QUERY]
            return ToolResult(query, "", str(refusal), ok=False, seconds=time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return ToolResult(solved.query, solved.result, solved.sentence, ok=True, seconds=seconds)

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
    """Register a tool class under `name`, with its card.

    `mark` is one to three letters, `slot` a colour from 0 to 9, `examples` prompts that the tool answers.
    Raise ValueError for a taken name, an unusable card, or a class without `solve`.
    """
    if not title or not description:
        raise ValueError(f"tool {name!r} needs a title and a description")
    if not 1 <= len(mark) <= 3 or not 0 <= slot < SLOTS:
        raise ValueError(f"tool {name!r} needs a mark of 1 to 3 letters and a slot from 0 to {SLOTS - 1}")

    def add(cls: T) -> T:
        if inspect.isabstract(cls):
            raise ValueError(f"tool {name!r} needs a method solve(prompt)")
        cls.card = Expert(name, "tool", title, description, mark, slot, licence=licence, examples=examples)
        return TOOLS.register(name, cls)  # type: ignore[return-value]

    return add
