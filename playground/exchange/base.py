"""Define what an exchange format is: rows of labels in, the text of a file out.

This module knows no database and no file. The caller reads the rows and writes the text.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import ClassVar, TypeVar

from playground.core.plugins import Plugins
from playground.core.records import LabelRow
from playground.errors import InvalidRequest


class ExchangeFormat(ABC):
    """Write labels in one way for other programs. The class attributes come from `@exchange_format`."""

    name: ClassVar[str]
    title: ClassVar[str]
    ending: ClassVar[str]
    is_table: ClassVar[bool]

    @abstractmethod
    def write(self, rows: Sequence[LabelRow]) -> str:
        """Return the text of a file with these labels, in their order. The same rows give the same text.

        `rows` may be empty. Prompts and answers may hold any text, also line breaks.
        """


FORMATS: Plugins[type[ExchangeFormat]] = Plugins("exchange format", "playground.exchange.formats")
F = TypeVar("F", bound=type[ExchangeFormat])


def exchange_format(name: str, *, title: str, ending: str, is_table: bool) -> Callable[[F], F]:
    """Register a class as the format `name`. Raise ValueError for a taken name or an unusable title or ending.

    `ending` is the end of the file's name, such as ".csv". Set `is_table` when people open such files in a
    spreadsheet: then no cell may begin like a formula.
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
    """Return the format that a file's ending asks for. Raise InvalidRequest that lists the endings there are."""
    known = {FORMATS.get(name).ending: FORMATS.get(name) for name in FORMATS}
    path = PurePath(file_name)
    if path.suffix not in known:
        raise InvalidRequest(
            f"The ending of {path.name} is not known.", f"Use a file name that ends in {' or '.join(known)}."
        )
    return known[path.suffix]()
