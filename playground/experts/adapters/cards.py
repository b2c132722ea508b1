"""Read an adapter folder as an expert: its card, its name, and whether its files look whole.

Only cards and file headers are read, never weights.
"""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.core.plugins import NAME
from playground.core.values import Expert
from playground.experts.base import SLOTS, kept_names

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "card.json"


class Card(BaseModel):
    """What `card.json` of an adapter folder holds."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=NAME.pattern)
    title: str = Field(min_length=1, max_length=60)
    description: str = Field(min_length=1, max_length=600)
    mark: str = Field(min_length=1, max_length=3)
    slot: int = Field(ge=0, lt=SLOTS)
    licence: str = Field("", max_length=100)
    trained_on: str = Field("", max_length=300)
    figure: str = Field("", max_length=400)
    examples: tuple[str, ...] = Field((), max_length=100)
    source: str = Field("", max_length=200)


def load_expert(folder: Path) -> Expert:
    """Return the expert in one adapter folder. Never raise for what the folder holds.

    A folder without a card, such as an adapter fetched from a hub, gets a plain card made from its name.
    """
    problem = _adapter_problem(folder)
    if not (folder / CARD).exists():
        name = slug(folder.name)
        if problem:
            return broken_expert(name, problem, folder)
        about = f"An adapter in the folder {folder.name}, which has no card."
        return Expert(name, "lora", folder.name[:60], about, name[:2].title(), SLOTS - 1, folder=str(folder))
    try:
        card = Card.model_validate_json((folder / CARD).read_bytes())
    except OSError as error:
        return broken_expert(slug(folder.name), f"{CARD} cannot be read: {error.strerror}.", folder)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its text"
        return broken_expert(slug(folder.name), f"{CARD}: {field}: {first['msg']}.", folder)
    return Expert(kind="lora", ready=not problem, reason=problem, folder=str(folder), **card.model_dump())


def broken_expert(name: str, reason: str, folder: Path) -> Expert:
    """Return an expert that stands for a folder that cannot be used."""
    return Expert(
        name=name,
        kind="lora",
        title=name.replace("_", " ").capitalize(),
        description="This expert's folder is not usable.",
        mark=name[:2].title(),
        slot=SLOTS - 1,
        ready=False,
        reason=reason,
        folder=str(folder),
    )


def slug(text: str) -> str:
    """Return an expert's name made of `text`: lower case, digits and underscores, at most 40 characters."""
    letters = "".join(char if char.isascii() and char.isalnum() else "_" for char in text.lower()).strip("_")
    letters = re.sub("_+", "_", letters)[:40].rstrip("_")
    return letters if NAME.match(letters) else f"expert_{letters}"[:40].rstrip("_")


def free_name(text: str, names: Collection[str]) -> str:
    """Return a name made of `text` that is neither in `names` nor kept for an expert that is always there."""
    kept = kept_names()
    name, number = slug(text), 2
    while name in names or name in kept:
        name, number = f"{slug(text)[:36]}_{number}", number + 1
    return name


def _adapter_problem(folder: Path) -> str:
    """Return why the adapter cannot be used, judged by its configuration and header. Empty when nothing is wrong."""
    try:
        config: Any = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        return f"{CONFIG} is missing."
    except (OSError, ValueError):
        return f"{CONFIG} cannot be read."
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        return f"{CONFIG} does not describe a LoRA adapter."
    if not isinstance(config.get("r"), int) or config["r"] < 1:
        return f"{CONFIG} has no rank."
    return _weights_problem(folder / WEIGHTS)


def _weights_problem(path: Path) -> str:
    """Return why a safetensors file cannot be whole. The header tells: 8 bytes of length, JSON with byte offsets."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                return f"{path.name} is damaged, or a pointer to a file that was not fetched."
            header: Any = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError:
        return f"{path.name} is missing."
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return f"{path.name} is damaged."
    if not ends:
        return f"{path.name} holds no weights."
    return "" if max(ends) == size - 8 - length else f"{path.name} is cut short."
