"""Find plug-ins: a registry bound to folders whose files register themselves when imported.

A plug-in is one file, or one folder with a file of the same name, in a folder that a `Plugins` knows. Nobody lists it
by hand: the first look into the registry imports the folder. This module knows nothing of what the plug-ins do.
"""

import importlib
import logging
import re
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from playground.errors import InvalidRequest

T = TypeVar("T")
NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
# what reading a file can raise; anything stranger is a bug that should be seen
UNREADABLE = (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, OSError)

log = logging.getLogger(__name__)


class Plugins(Generic[T]):
    """Hold plug-ins of one kind by name, in the order of their folders and file names.

    `noun` is the word for one plug-in in messages. `packages` are dotted names of the folders that hold them.
    """

    def __init__(self, noun: str, *packages: str) -> None:
        self.noun = noun
        self.packages = packages
        self._items: dict[str, T] = {}
        self._broken: dict[str, str] = {}
        self._is_discovered = False
        self._lock = threading.RLock()

    def register(self, name: str, item: T) -> T:
        """Add `item` and return it. Raise ValueError for a name that is taken or is not lower_snake_case."""
        if not NAME.match(name):
            raise ValueError(f"{name!r} cannot name a {self.noun}: use lower case letters, digits and _")
        if name in self._items:
            raise ValueError(f"a {self.noun} called {name!r} is registered already")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """Return the plug-in called `name`. Raise InvalidRequest that lists the names there are."""
        self.discover()
        try:
            return self._items[name]
        except KeyError:
            raise InvalidRequest(f"No {self.noun} is called {name!r}.", f"Choose one of: {', '.join(self)}.") from None

    def broken(self) -> dict[str, str]:
        """Return the reason by file name for each file that could not be imported."""
        self.discover()
        return dict(self._broken)

    def discover(self) -> None:
        """Import every plug-in file once. A broken file is logged and kept in `broken`; the others still work."""
        with self._lock:
            if self._is_discovered:
                return
            self._is_discovered = True
            for package in self.packages:
                for module in _modules(package):
                    self._import(module)

    def _import(self, module: str) -> None:
        try:
            importlib.import_module(module)
        except UNREADABLE as error:
            name = module.rpartition(".")[2]
            log.exception("plugin broken kind=%s file=%s", self.noun, name)
            self._broken[name] = f"{type(error).__name__}: {error}"

    def __iter__(self) -> Iterator[str]:
        self.discover()
        return iter(tuple(self._items))

    def __len__(self) -> int:
        self.discover()
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        self.discover()
        return name in self._items


def _modules(package: str) -> list[str]:
    """Return the dotted names of a folder's plug-in files, sorted; a sub-folder counts by the file of its own name."""
    spec = find_spec(package)
    found: list[str] = []
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).iterdir()):
            if path.suffix == ".py" and path.stem.isidentifier() and not path.stem.startswith("_"):
                found.append(f"{package}.{path.stem}")
            elif (path / f"{path.name}.py").is_file():
                found.append(f"{package}.{path.name}.{path.name}")
    return found
