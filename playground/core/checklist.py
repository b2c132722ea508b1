"""Things that were looked at, one line each: passed, doubtful or failed, what was seen, and what would help."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from playground.errors import InvalidRequest

State = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Line:
    """One thing looked at: `title` names it, `detail` says what was seen, `remedy` what to do about a failure."""

    title: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Checklist:
    """The lines in the order in which they were looked at; what lies behind a failure may be missing."""

    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Checklist":
        """A list of `lines`."""
        return cls(tuple(lines))

    def __add__(self, other: "Checklist") -> "Checklist":
        return Checklist(self.lines + other.lines)

    @property
    def failure(self) -> Line | None:
        """The first line that failed."""
        return next((line for line in self.lines if line.state == "fail"), None)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.failure is None

    def require(self, name: str) -> None:
        """Raise InvalidRequest with the first failure, said of `name`."""
        failure = self.failure
        if failure is not None:
            raise InvalidRequest(f"{name}: {failure.detail}", failure.remedy)

    def as_json(self) -> dict[str, Any]:
        """The list as JSON-ready values."""
        return {"ok": self.ok, "lines": [asdict(line) for line in self.lines]}
