"""Define a measurement of this machine: its options, and one method that returns figures.

The command line makes a command of each subject. This module knows nothing of that, or of what is measured.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from playground.core.plugins import Plugins
from playground.options import Options
from playground.settings import Settings

Tell = Callable[[str], None]


class Bench(Options):
    """One subject to measure. Its fields are its options: each needs a default and a description.

    A subject's own file is imported to list the commands, so it must be quick to import. What needs torch or the model
    stands in a second file, which `run` imports.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def run(self, settings: Settings, tell: Tell) -> dict[str, Any]:
        """Return the figures of the measurement as JSON-ready values. `tell` takes a short text about the progress.

        Raise InvalidRequest when an option cannot be used, ArtefactError when a model cannot be loaded.
        """


BENCHES: Plugins[type[Bench]] = Plugins("bench subject", "playground.bench.subjects")
B = TypeVar("B", bound=type[Bench])


def bench(name: str, *, title: str) -> Callable[[B], B]:
    """Register a class as the subject `name`. Raise ValueError for a taken name, no title, or an option without help.

    `title` is the help of its command, a sentence.
    """
    if not title:
        raise ValueError(f"bench subject {name!r} needs a title")

    def add(cls: B) -> B:
        if inspect.isabstract(cls):
            raise ValueError(f"bench subject {name!r} needs a method run(settings, tell)")
        subject: type[Bench] = cls  # mypy cannot look up the fields of a type variable
        bare = [key for key, field in subject.model_fields.items() if field.is_required() or not field.description]
        if bare:
            raise ValueError(f"the option {bare[0]!r} of bench subject {name!r} needs a default and a description")
        cls.name, cls.title = name, title
        return BENCHES.register(name, cls)  # type: ignore[return-value]

    return add
