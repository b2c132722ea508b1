"""The panel that sets the experts beside each other: adapters by their weights, and everybody by the runs here."""

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from playground.core.route_measures import usage_correlation
from playground.errors import PlaygroundError
from playground.store.runs import recent_usages
from playground.ui import parts
from playground.ui.palette import looks
from playground.ui.trouble import told

if TYPE_CHECKING:
    from playground.runtime import Runtime

LAST_RUNS = 200


def numbers(matrix: np.ndarray) -> list[list[float | None]]:
    """A matrix as JSON-ready rows of four decimals; NaN becomes None."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in matrix]


def used_together(runtime: "Runtime") -> tuple[list[str], np.ndarray, int]:
    """(names, correlation (E, E), runs) over the newest runs stored here; an expert outside a run's pool is unknown."""
    with runtime.database.read() as session:
        runs = recent_usages(session, LAST_RUNS)
    names = [name for name in runtime.pool.names if any(name in experts for experts, _ in runs)]
    usages = np.full((len(runs), len(names)), np.nan)
    for row, (experts, usage) in enumerate(runs):
        for name, share in zip(experts, usage, strict=True):
            if name in names:
                usages[row, names.index(name)] = share
    return names, usage_correlation(usages), len(runs)


def compared(runtime: "Runtime") -> dict[str, Any]:
    """Everything the panel draws. Raises NotReady, InvalidRequest."""
    found = runtime.likeness()
    names, used, runs = used_together(runtime)
    return {
        "looks": [vars(look) for look in looks(found.names, runtime.pool)],
        "reading": numbers(found.reading),
        "change": numbers(found.change),
        "chance": None if np.isnan(found.chance) else round(found.chance, 4),
        "used_looks": [vars(look) for look in looks(names, runtime.pool)],
        "used": numbers(used),
        "runs": runs,
    }


def build(runtime: "Runtime") -> gr.HTML:
    """Draw the panel; it asks for its figures when it is opened."""

    def likeness(_: Any) -> dict[str, Any]:
        """How alike the experts are."""
        try:
            return compared(runtime)
        except PlaygroundError as error:
            return {"error": " ".join(told(error)).strip()}

    return parts.drawn("likeness", "", "page/likeness.html", elem_id="likeness", functions=[likeness])
