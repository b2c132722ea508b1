"""Elements that Python only names, with escaped data attributes. The modules in `static/lib/` draw them."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from playground.ui.palette import Look


def _data(value: Any) -> str:
    """Return a JSON value for an attribute."""
    return escape(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def chip(look: Look, *, title: bool = True) -> str:
    """Return the element for the mark of an expert on its colour; with `title` its title follows."""
    named = " data-named" if title else ""
    return (
        f'<expert-chip data-mark="{escape(look.mark)}" data-slot="{look.slot}" data-title="{escape(look.title)}"'
        f"{named}></expert-chip>"
    )


def weight_bars(looks: Sequence[Look], weights: Sequence[float], shown: Sequence[int], *, title: bool = True) -> str:
    """Return the element for small bars with percents, for the positions in `shown`; all `weights` sum to 100%."""
    drawn = [{"mark": look.mark, "slot": look.slot, "title": look.title} for look in looks]
    value = {"looks": drawn, "weights": [round(float(weight), 6) for weight in weights], "shown": list(shown)}
    return f'<weight-bars data-weights="{_data(value)}"{" data-named" if title else ""}></weight-bars>'


def daily_use(slot: int, **use: Any) -> str:
    """Return the element for an expert's share of use: days, shares, runs, highest and overall."""
    return f'<daily-use data-slot="{slot}" data-use="{_data(use)}"></daily-use>'
