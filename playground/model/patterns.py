"""Match expressions of a stranger against the names of modules, as PEFT does, within a time limit.

PEFT gives some fields of a configuration to Python's `re`, which can run for ever. So another process matches here, and
it is ended when it takes too long. Nothing of the expressions runs as code.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

SECONDS = 5  # of a processor
PATIENCE = 6  # how many times as long it may take on the clock, when the machine is busy
MAX_EXPRESSIONS = 4000
TOO_LONG = "matching them takes too long"
# JSON in, JSON out: for each expression the places of the names that it matches, with the group called "idx".
WORKER = """
import json, re, sys
names, expressions, seconds = json.load(sys.stdin)
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
except ImportError:
    pass  # not on Windows: there the time on the clock alone is limited
found = []
for number, (way, expression) in enumerate(expressions):
    try:
        compiled = re.compile(expression)
    except (re.error, RecursionError, OverflowError, MemoryError) as error:
        json.dump({"broken": number, "why": str(error)[:120]}, sys.stdout)
        sys.exit()
    matches = ((place, getattr(compiled, way)(name)) for place, name in enumerate(names))
    found.append([[place, match.groupdict().get("idx")] for place, match in matches if match])
json.dump({"found": found}, sys.stdout)
"""


Expression = tuple[Literal["match", "fullmatch"], str]  # whether it must match a name from its start, or all of it


class CannotMatch(ValueError):
    """The expressions cannot be used. `number` is the place of a broken one, or -1."""

    def __init__(self, reason: str, number: int = -1) -> None:
        super().__init__(reason)
        self.number = number


@dataclass(frozen=True)
class Matches:
    """Hold the names that one expression matches, each with its group `idx`, None when it has no such group."""

    groups: dict[str, str | None]

    def __contains__(self, name: str) -> bool:
        return name in self.groups


def match_names(expressions: Sequence[Expression], names: Sequence[str], *, seconds: int = SECONDS) -> list[Matches]:
    """Return for each expression which of `names` it matches. Raise CannotMatch."""
    if not expressions:
        return []
    if len(expressions) > MAX_EXPRESSIONS:
        raise CannotMatch(f"there are {len(expressions):,} of them, more than {MAX_EXPRESSIONS:,}")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", WORKER],
            input=json.dumps([list(names), list(expressions), seconds]),
            capture_output=True,
            encoding="utf-8",
            timeout=seconds * PATIENCE,
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    except subprocess.TimeoutExpired as error:
        raise CannotMatch(TOO_LONG) from error
    except (OSError, ValueError) as error:
        raise CannotMatch("the process that matches them cannot be used") from error
    if not told:
        raise CannotMatch(TOO_LONG)
    if "broken" in told:
        raise CannotMatch(f"one is broken ({told['why']})", int(told["broken"]))
    return [Matches({names[place]: group for place, group in matches}) for matches in told["found"]]
