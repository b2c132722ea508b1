"""The planted worlds, by name. Each returns its figures for a number of seeds."""

from collections.abc import Callable, Mapping
from typing import Any

from playground.bench.base import Tell
from playground.bench.subjects.preferences.worlds import circles, crowds, topics
from playground.errors import InvalidRequest

WORLDS: dict[str, Callable[[int], Mapping[str, Any]]] = {
    "topics": topics.topics,
    "cycle": circles.cycle,
    "tastes": crowds.two_tastes,
    "noise": topics.noise,
    "spammers": crowds.spammers,
    "side": crowds.side,
    "style": crowds.style,
    "drift": topics.drift,
}


def run(tell: Tell, *, seeds: int, name: str = "") -> dict[str, Any]:
    """Return the figures of all worlds, or of the world `name`. Raise InvalidRequest for an unknown one."""
    if name and name not in WORLDS:
        raise InvalidRequest(f"There is no world {name!r}.", f"Choose one of: {', '.join(WORLDS)}.")
    found = {}
    for world, measure in WORLDS.items():
        if name in ("", world):
            tell(f"world {world}, seeds {seeds}")
            found[world] = dict(measure(seeds))
    return found
