"""Read an adapter folder as an expert: its card, its name, and whether its files look whole.

Only cards and file headers are read, never weights.
"""

import re
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.core.adapter_format import (
    CONFIG,
    LENGTH_BYTES,
    MAX_CONFIG_BYTES,
    START_BYTES,
    WEIGHTS,
    WrongFormat,
    header_length,
    parse_config,
    parse_header,
)
from playground.core.plugins import NAME
from playground.core.values import Expert
from playground.experts.base import SLOTS, kept_names

CARD = "card.json"
MAX_SOURCE = 4096  # a path can be this long; one that was cut would never be recognised again


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
    source: str = Field("", max_length=MAX_SOURCE)


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
        with (folder / CONFIG).open("rb") as file:
            config = parse_config(file.read(MAX_CONFIG_BYTES + 1))
        if config.get("peft_type") != "LORA":
            return f"{CONFIG} does not describe a LoRA adapter."
        if "r" not in config and "target_modules" not in config:
            return f"{CONFIG} names neither rank nor target_modules."
        return _weights_problem(folder / WEIGHTS)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing."
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read ({error.strerror})."
    except WrongFormat as error:
        return f"{error.detail} {error.remedy}"


def _weights_problem(path: Path) -> str:
    """Return why a weights file cannot be whole, by its header. Raise WrongFormat, OSError."""
    with path.open("rb") as file:
        size = path.stat().st_size
        length = header_length(file.read(START_BYTES), size)
        file.seek(LENGTH_BYTES)
        header = parse_header(file.read(length))
    if not header.tensors:
        return f"{path.name} holds no weights."
    return "" if header.size == size else f"{path.name} is cut short."
