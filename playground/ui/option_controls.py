"""Draws controls for the options of a plug-in that is chosen in a menu, such as a label objective.

Which options there are is only known once the models are loaded, and changes with the choice. So a fixed number of
places is drawn, and each is renamed, limited, shown or hidden. `Options.controls()` says what to draw.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

PLACES = 8
NUMBERS = ("number", "integer")


class OptionControls:
    """`components` are a number field and a menu for each place; one of the two is visible where there is an option."""

    def __init__(self, elem_id: str, controls: Sequence[Mapping[str, Any]]) -> None:
        self.components: list[Any] = []
        for place in range(PLACES):
            number, menu = _settings(controls[place] if place < len(controls) else None)
            self.components += [
                gr.Number(**number, elem_id=f"{elem_id}-{place}"),
                gr.Dropdown(**menu, elem_id=f"{elem_id}-{place}-menu", allow_custom_value=True),
            ]

    def updates(self, controls: Sequence[Mapping[str, Any]]) -> dict[Any, Any]:
        """Return updates, by component, that draw `controls` at their defaults."""
        found: dict[Any, Any] = {}
        for place in range(PLACES):
            number, menu = _settings(controls[place] if place < len(controls) else None)
            found[self.components[2 * place]] = gr.Number(**number)
            found[self.components[2 * place + 1]] = gr.Dropdown(**menu)
        return found

    @staticmethod
    def values(controls: Sequence[Mapping[str, Any]], given: Sequence[Any]) -> dict[str, Any]:
        """Return the options by name from the components' values. An empty one keeps its default."""
        found: dict[str, Any] = {}
        for place, control in enumerate(controls[:PLACES]):
            value = given[2 * place + (control.get("type") not in NUMBERS)]
            if value not in (None, ""):
                found[control["name"]] = int(value) if control.get("type") == "integer" else value
        return found

    @staticmethod
    def changes(controls: Sequence[Mapping[str, Any]], given: Sequence[Any]) -> dict[str, Any]:
        """Return the options that differ from what was drawn, by name."""
        drawn = {control["name"]: control.get("default") for control in controls}
        return {name: value for name, value in OptionControls.values(controls, given).items() if value != drawn[name]}


def _settings(control: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the number field and the menu of one place are set to."""
    hidden = {"visible": False, "label": "", "value": None}
    if control is None:
        return hidden, {**hidden, "choices": []}
    shown = {"visible": True, "label": control["name"], "value": control.get("default")}
    shown["info"] = control.get("description", "")
    if control.get("type") in NUMBERS:
        limits = {
            "minimum": control.get("minimum", control.get("exclusiveMinimum")),
            "maximum": control.get("maximum", control.get("exclusiveMaximum")),
        }
        return {**shown, **limits}, {**hidden, "choices": []}
    if control.get("type") == "boolean":
        return hidden, {**shown, "value": str(shown["value"]).lower(), "choices": ["true", "false"]}
    return hidden, {**shown, "choices": control.get("enum", [])}
