"""The panel on how similar the experts are: adapters by their weights, and all experts by the runs here."""

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from playground.actions.likeness import alike
from playground.errors import PlaygroundError
from playground.ui import parts
from playground.ui.failures import words_of
from playground.ui.palette import looks

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime


def numbers(matrix: np.ndarray) -> list[list[float | None]]:
    """Return a matrix as JSON-ready rows of four decimals. NaN becomes None."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in matrix]


def picture(runtime: "Runtime") -> dict[str, Any]:
    """Return everything the panel draws. Raise NotReady, InvalidRequest."""
    found = alike(runtime)
    adapters = found.adapters
    return {
        "looks": [vars(look) for look in looks(adapters.names, runtime.pool)],
        "reading": numbers(adapters.reading),
        "change": numbers(adapters.change),
        "chance": None if np.isnan(adapters.chance) else round(adapters.chance, 4),
        "used_looks": [vars(look) for look in looks(found.names, runtime.pool)],
        "used": numbers(found.used),
        "runs": found.runs,
    }


def build(runtime: "Runtime") -> gr.HTML:
    """Draw the panel. It asks for its figures when it is opened."""

    def likeness(_: Any) -> dict[str, Any]:
        """Return how similar the experts are."""
        try:
            return picture(runtime)
        except PlaygroundError as error:
            return {"error": words_of(error)}

    return parts.drawn("likeness", "", "page/likeness.html", elem_id="likeness", functions=[likeness])
