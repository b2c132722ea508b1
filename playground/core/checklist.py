"""Define checklists: one line for each thing that was checked.

A line says whether the check passed, what was seen and what would help.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from playground.errors import InvalidRequest

State = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Line:
    """Hold one check: `title` names it, `detail` says what was seen, `remedy` says what to do about a failure."""

    title: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Checklist:
    """Hold the lines in the order of the checks. Lines after a failure may be missing."""

    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Checklist":
        """Return a checklist of `lines`."""
        return cls(tuple(lines))

    def __add__(self, other: "Checklist") -> "Checklist":
        return Checklist(self.lines + other.lines)

    @property
    def failure(self) -> Line | None:
        """Return the first line that failed, or None."""
        return next((line for line in self.lines if line.state == "fail"), None)

    @property
    def ok(self) -> bool:
        """Return whether nothing failed."""
        return self.failure is None

    def require(self, name: str) -> None:
        """Raise InvalidRequest with the first failure. The message begins with `name`."""
        failure = self.failure
        if failure is not None:
            raise InvalidRequest(f"{name}: {failure.detail}", failure.remedy)

    def as_json(self) -> dict[str, Any]:
        """Return the list as JSON-ready values."""
        return {"ok": self.ok, "lines": [asdict(line) for line in self.lines]}
