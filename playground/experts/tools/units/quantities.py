"""Converts quantities with pint, in exact fractions. Runs in the tool worker.

Looks up unit names one by one. Pint's own text parser never sees a prompt.
"""

from fractions import Fraction
from typing import Any

import pint

from playground.experts.base import Refused
from playground.experts.tools.numerals import number_text

SYMBOLS = {"degree_Celsius": "°C", "degree_Fahrenheit": "°F"}
# what people call a dimension; the keys are powers of length, mass, time, temperature
KINDS = {
    (0, 0, 0, 0): "a plain number or an angle",
    (1, 0, 0, 0): "a length",
    (0, 1, 0, 0): "a mass",
    (0, 0, 1, 0): "a time",
    (0, 0, 0, 1): "a temperature",
    (2, 0, 0, 0): "an area",
    (3, 0, 0, 0): "a volume",
    (1, 0, -1, 0): "a speed",
    (1, 0, -2, 0): "an acceleration",
    (-1, 1, -2, 0): "a pressure",
    (1, 1, -2, 0): "a force",
    (2, 1, -2, 0): "an energy",
    (2, 1, -3, 0): "a power",
}
AXES = ("[length]", "[mass]", "[time]", "[temperature]")


# made on import, which the time limit of a call does not count: 0.4 s on an idle machine
REGISTRY: "pint.UnitRegistry[Any]" = pint.UnitRegistry(non_int_type=Fraction)


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Return {"text", "is_exact", "symbol"}, or {"refused": reason}.

    `request` holds "amounts", [[number, [[unit, power], ...]], ...], and "wanted", [[unit, power], ...]. `symbol` is
    how the unit is written. It is empty when the person's own spelling shall be kept.
    """
    try:
        wanted = _unit(request["wanted"])
        shown = number_text(_converted(_total(request["amounts"]), wanted))
    except Refused as refusal:
        return {"refused": str(refusal)}
    return {"text": shown.text, "is_exact": shown.is_exact, "symbol": _symbol(wanted)}


def _total(amounts: list[Any]) -> Any:
    total = None
    for number, factors in amounts:
        unit = _unit(factors)
        part = REGISTRY.Quantity(Fraction(number), unit)
        if total is not None and total.dimensionality != part.dimensionality:
            raise Refused(f"The parts of the quantity do not add up: {_kind(total)} and {_kind(part)}.")
        total = part if total is None else total + part
    return total


def _converted(quantity: Any, wanted: Any) -> Fraction:
    if quantity.dimensionality != wanted.dimensionality:
        raise Refused(f"These units measure different things: {_kind(quantity)} cannot become {_kind(wanted)}.")
    try:
        made = quantity.to(wanted)
    except (pint.DimensionalityError, pint.OffsetUnitCalculusError) as error:
        raise Refused("These units cannot be converted into one another.") from error
    if _kind(quantity) == "a temperature" and quantity.to("kelvin").magnitude < 0:
        raise Refused("This temperature is below absolute zero.")
    return Fraction(made.magnitude)


def _symbol(unit: Any) -> str:
    names = [name for name, _ in unit._units.items()]
    return SYMBOLS.get(names[0], "") if len(names) == 1 else ""


def _unit(factors: list[Any]) -> Any:
    powers: dict[str, int] = {}
    for name, power in factors:
        known = _name(name)
        powers[known] = powers.get(known, 0) + power
    # the registry's own container: a plain dictionary would make powers and conversion factors floats
    return REGISTRY.Unit(REGISTRY.UnitsContainer({name: power for name, power in powers.items() if power}))


def _name(word: str) -> str:
    """Return pint's name of the unit `word`, tried as it is, in lower case and in the singular."""
    for spelling in dict.fromkeys(
        (word, word.lower(), word.lower().removesuffix("s"), word.lower().removesuffix("es"))
    ):
        try:
            name = REGISTRY.get_name(spelling)
        except (pint.UndefinedUnitError, pint.DefinitionSyntaxError, KeyError, ValueError):
            continue
        if name:
            return str(name)
    raise Refused(f"No unit is called {word[:30]!r}.")


def _kind(thing: Any) -> str:
    powers = dict(thing.dimensionality)
    known = KINDS.get(tuple(powers.get(axis, 0) for axis in AXES)) if set(powers) <= set(AXES) else None
    return known or "something else"
