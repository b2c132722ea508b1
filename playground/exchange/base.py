"""Define what an exchange format is: rows of labels in, the bytes of a file out, and back.

This module knows no database and no file. The caller reads and writes both.
"""

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import ClassVar, TypeVar

from playground.core.plugins import Plugins
from playground.core.records import LabelRow
from playground.errors import InvalidRequest


@dataclass(frozen=True, eq=False)
class ParsedRow:
    """Hold one row of a file that was read: its label, or what is wrong with it. `line` counts from 1."""

    line: int
    row: LabelRow | None
    problem: str = ""


class ExchangeFormat(ABC):
    """Write labels in one way for other programs, and read them again. `@exchange_format` sets name and title.

    `carries` names the columns of `as_records` that come back unchanged when a written file is read.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    ending: ClassVar[str]
    is_table: ClassVar[bool]
    carries: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return a file with the labels that the format holds, in their order. The same rows give the same bytes.

        `rows` may be empty. Prompts and answers may hold any text, also line breaks.
        """

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every row of a file, good or bad, in its order.

        Raise InvalidRequest when the bytes are no such file at all, or when this format is only written.
        """
        raise InvalidRequest(f"{self.title} is only written, not read.", "Import the labels from another format.")

    def holds(self, row: LabelRow) -> bool:
        """Return whether the format can say this verdict. A row that it cannot hold is left out when writing."""
        return True

    @classmethod
    def can_read(cls) -> bool:
        """Return whether files of this format can be imported."""
        return cls.read is not ExchangeFormat.read


FORMATS: Plugins[type[ExchangeFormat]] = Plugins("exchange format", "playground.exchange.formats")
F = TypeVar("F", bound=type[ExchangeFormat])


def exchange_format(name: str, *, title: str, ending: str, is_table: bool) -> Callable[[F], F]:
    """Register a class as the format `name`. Raise ValueError for a taken name or an unusable title or ending.

    `ending` is the end of the file's name, such as ".csv" or ".trl.jsonl". Set `is_table` when people open such files
    in a spreadsheet: then no cell may begin like a formula.
    """
    if not title or not ending.startswith(".") or len(ending) < 2:
        raise ValueError(f"exchange format {name!r} needs a title and an ending such as .csv")

    def add(cls: F) -> F:
        if inspect.isabstract(cls):
            raise ValueError(f"exchange format {name!r} needs a method write(rows)")
        cls.name, cls.title, cls.ending, cls.is_table = name, title, ending, is_table
        return FORMATS.register(name, cls)  # type: ignore[return-value]

    return add


def format_of(file_name: str) -> ExchangeFormat:
    """Return the format that a file's ending asks for: the longest one that fits, so `.trl.jsonl` before `.jsonl`.

    Raise InvalidRequest that lists the endings there are.
    """
    known = {FORMATS.get(name).ending: FORMATS.get(name) for name in FORMATS}
    path = PurePath(file_name)
    for ending in sorted(known, key=len, reverse=True):
        if path.name.endswith(ending):
            return known[ending]()
    raise InvalidRequest(
        f"The ending of {path.name} is not known.", f"Use a file name that ends in {' or '.join(known)}."
    )


def format_called(name: str) -> ExchangeFormat:
    """Return the format called `name`. Raise InvalidRequest that lists the formats there are."""
    if name not in FORMATS:
        raise InvalidRequest(f"No format is called {name[:40]!r}.", f"Choose one of: {', '.join(FORMATS)}.")
    return FORMATS.get(name)()


def losses(form: ExchangeFormat, rows: Sequence[LabelRow]) -> list[str]:
    """Return a sentence for each thing that a file of this format lacks, with the number of labels.

    Formats that are only written say which verdicts they leave out, and nothing about columns.
    """
    left_out = Counter(row.verdict.text for row in rows if not form.holds(row))
    found = [f"{count} labels are left out: {text}." for text, count in left_out.items()]
    kept = [row for row in rows if form.holds(row)]
    told = {
        "strength": sum(row.verdict.strength is not None for row in kept),
        "rationale": sum(bool(row.rationale or row.tags) for row in kept),
        "usage_a": sum(int((row.a.usage > 0).sum() > 1 or (row.b.usage > 0).sum() > 1) for row in kept),
        "router_a": sum(bool(row.a.router) for row in kept),
        "pair_propensity": sum(row.pair_propensity is not None for row in kept),
    }
    words = {
        "strength": "how much better",
        "rationale": "the reason",
        "usage_a": "how experts were blended",
        "router_a": "router and version",
        "pair_propensity": "how the pair was drawn",
    }
    if form.can_read():
        found += [
            f"{count} labels lose {words[name]}." for name, count in told.items() if count and name not in form.carries
        ]
    return found
