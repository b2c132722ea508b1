"""Gives the run view a stored run as a file. The arguments come from a browser."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from playground.actions.export import export_run as text_of_run
from playground.errors import PlaygroundError
from playground.ui.failures import words_of

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime


def export_function(runtime: "Runtime") -> Callable[[Any], dict[str, Any]]:
    """Return the function that the page can call."""

    def export_run(asked: Any) -> dict[str, Any]:
        """Return a stored run as the text of a file."""
        try:
            run_id, kind = str(asked["run"])[:64], str(asked["kind"])
        except (KeyError, TypeError):
            return {"error": "No run was named. Open one, then export it."}
        try:
            return {"text": text_of_run(runtime, run_id, kind)}
        except PlaygroundError as error:
            return {"error": words_of(error)}

    return export_run
