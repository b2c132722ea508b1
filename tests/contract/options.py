"""Both ends of every option of a plug-in, for contract tests."""

from typing import Any

from playground.options import Options

INSIDE = 1e-3  # how far from an end that is itself not allowed


def ends(options: type[Options], *, run_time: bool | None = None) -> list[tuple[str, Any]]:
    """Return (option, value) at the lowest and the highest value of each option, or at each choice.

    With `run_time` True, options that are fixed by a fit are left out. With False, only those are returned.
    """
    later = {control["name"] for control in options.controls(run_time=True)}
    found: list[tuple[str, Any]] = []
    for control in options.controls():
        if run_time is None or run_time == (control["name"] in later):
            found += [(control["name"], value) for value in _values(control)]
    return found


def _values(control: dict[str, Any]) -> list[Any]:
    if "enum" in control:
        return list(control["enum"])
    if control.get("type") == "boolean":
        return [False, True]
    limits = [control.get("minimum"), control.get("maximum")]
    if "exclusiveMinimum" in control:
        limits[0] = control["exclusiveMinimum"] + INSIDE
    if "exclusiveMaximum" in control:
        limits[1] = control["exclusiveMaximum"] - INSIDE
    whole = control.get("type") == "integer"
    return [int(value) if whole else float(value) for value in limits if value is not None] or [control["default"]]
