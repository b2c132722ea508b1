"""A named collection that refuses duplicates and bad names: routers, objectives, expert kinds."""

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from playground.errors import InvalidRequest

T = TypeVar("T")
NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")


class Registry(Generic[T]):
    """Names to things, in the order they were registered. `noun` names the things in messages."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._items: dict[str, T] = {}

    def register(self, name: str, item: T) -> T:
        """Add `item`. Raises ValueError for a name that is taken or not lower_snake_case."""
        if not NAME.match(name):
            raise ValueError(f"{name!r} is no name for a {self.noun}: use lower case letters, digits and _")
        if name in self._items:
            raise ValueError(f"a {self.noun} called {name!r} is registered already")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """The thing called `name`. Raises InvalidRequest that lists the names there are."""
        try:
            return self._items[name]
        except KeyError:
            raise InvalidRequest(f"No {self.noun} is called {name!r}.", f"Choose one of: {', '.join(self)}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items
