"""Know where the parameters lie that ship with the app, and which figure was measured when they were fitted."""

from pathlib import Path

from playground.routers.artefact import read_card
from playground.settings import ROOT

SHIPPED = ROOT / "data" / "routers"


def shipped_figure(name: str, folder: Path | None = None) -> str:
    """Return the figure measured when the shipped parameters of router `name` were fitted. It is empty without any."""
    target = folder or SHIPPED / name
    return str(read_card(target).get("figure", "")) if target.is_dir() else ""
