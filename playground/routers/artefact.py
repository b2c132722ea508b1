"""Write and read router parameters: `params.safetensors`, and `router.json` with a format number. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from playground.errors import ArtefactError

FORMAT = 1
PARAMS = "params.safetensors"
CARD = "router.json"


def write_router(folder: Path, name: str, card: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write `tensors` and `card` to `folder`, which is made when missing.

    The card is written last: a folder without it is not loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / PARAMS)
    text = json.dumps({"format": FORMAT, "router": name, **card}, ensure_ascii=False, indent=1)
    (folder / CARD).write_text(text + "\n", "utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """Return the folder's `router.json`. Raise ArtefactError when it is missing, damaged or in another format."""
    remedy = "Restore the folder, or choose another version of the router."
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"The router in {folder.name} cannot be read.", remedy) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ArtefactError(f"The router in {folder.name} is not in format {FORMAT}.", remedy)
    return card


def read_router(folder: Path, name: str, shapes: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the card and the tensors that `write_router` wrote. `shapes` gives how many axes each tensor must have.

    Raise ArtefactError for another router's folder, damaged files, or a missing tensor.
    """
    card = read_card(folder)
    remedy = "Restore the folder, or choose another version of the router."
    if card.get("router") != name or not isinstance(card.get("experts"), list):
        raise ArtefactError(f"The folder {folder.name} does not hold a {name} router.", remedy)
    try:
        tensors = load_file(folder / PARAMS)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"The parameters in {folder.name} cannot be read.", remedy) from error
    for key, axes in shapes.items():
        if key not in tensors or tensors[key].ndim != axes:
            raise ArtefactError(f"The parameters in {folder.name} lack {key!r} with {axes} axes.", remedy)
    return card, tensors


def add_to_card(folder: Path, **values: Any) -> None:
    """Add `values` to the folder's `router.json`, such as figures that were measured after the parameters were written.

    Raise ArtefactError when the card cannot be read.
    """
    text = json.dumps({**read_card(folder), **values}, ensure_ascii=False, indent=1)
    (folder / CARD).write_text(text + "\n", "utf-8")
