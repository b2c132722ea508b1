"""Compare the experts: adapters by their weights, and every expert by the stored runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from playground.actions.runs import newest_usages
from playground.core.route_measures import Likeness, usage_correlation

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

LAST_RUNS = 200


@dataclass(frozen=True, eq=False)
class Alike:
    """Hold how alike experts are. `used` (E, E) is the correlation of the use of `names` over the newest `runs`."""

    adapters: Likeness
    names: list[str]
    used: np.ndarray
    runs: int


def alike(runtime: "Runtime") -> Alike:
    """Return how alike the experts are, by their weights and by their use. Raise NotReady, InvalidRequest."""
    return Alike(runtime.likeness(), *used_together(runtime))


def used_together(runtime: "Runtime") -> tuple[list[str], np.ndarray, int]:
    """Return (names, correlation (E, E), runs) over the newest runs; an expert outside a run's pool is unknown."""
    runs = newest_usages(runtime, LAST_RUNS)
    names = [name for name in runtime.pool.names if any(name in experts for experts, _ in runs)]
    usages = np.full((len(runs), len(names)), np.nan)
    for row, (experts, usage) in enumerate(runs):
        for name, share in zip(experts, usage, strict=True):
            if name in names:
                usages[row, names.index(name)] = share
    return names, usage_correlation(usages), len(runs)
