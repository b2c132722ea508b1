"""The experts that are installed: the base model, the adapter folders with their cards, and the tools.

Reads cards and file headers only, never weights, so the page can name the experts before any model is loaded.
"""

import json
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.core.plugins import NAME
from playground.core.values import Expert, Pool
from playground.experts.base import Tool
from playground.experts.tools.calculator.calculator import Calculator
from playground.experts.tools.units.units import Units
from playground.experts.tools.worker import Worker

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "card.json"
SLOTS = 10

BASE = Expert(
    name="base",
    kind="base",
    title="Base model",
    description="The shared language model as it is: small talk, open questions, facts, stories and poems.",
    mark="–",
    slot=-1,
    licence="Apache-2.0",
    examples=(
        "What is the capital of Australia?",
        "Write a short poem about the sea in winter.",
        "How are you today?",
        "Tell me a story about a dragon who is afraid of the dark.",
    ),
)
TOOLS = (
    Expert(
        name="calculator",
        kind="tool",
        title="Calculator",
        description="Exact arithmetic: sums, products, powers, roots, percentages and functions of plain numbers.",
        mark="Ca",
        slot=9,
        licence="BSD-3-Clause",
        examples=("What is 17% of 2,340?", "sqrt(2)*15", "12.5 * (3+4)", "increase 80 by 15%"),
    ),
    Expert(
        name="units",
        kind="tool",
        title="Unit converter",
        description="Converts a quantity from one unit to another: length, mass, volume, speed, temperature and more.",
        mark="Un",
        slot=9,
        licence="BSD-3-Clause",
        examples=("convert 5 miles to km", "how many grams in 3 oz", "100 F in C", "60 mph in m/s"),
    ),
)
TAKEN = ("base", *(tool.name for tool in TOOLS))


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


def load_catalogue(shipped: Path, *added: Path) -> Pool:
    """Every expert: base, adapters by slot and name, tools. A broken folder is there too, not ready, with a reason.

    Adapters lie in the folder `shipped` and in the folders `added`, which hold what people brought; a name belongs to
    the first that has it.
    """
    adapters: list[Expert] = []
    for place, experts_dir in enumerate((shipped, *added)):
        for folder in _folders(experts_dir):
            expert = load_expert(folder)
            if expert.name in TAKEN or expert.name in {other.name for other in adapters}:
                reason = f"The name {expert.name!r} is taken by another expert."
                expert = _broken(free_name(folder.name, {other.name for other in adapters}), reason, folder)
            adapters.append(replace(expert, is_added=place > 0))
    adapters.sort(key=lambda expert: (expert.slot, expert.name))
    return Pool((BASE, *adapters, *TOOLS))


def load_tools(limit_s: float = 2.0) -> dict[str, Tool]:
    """The tool experts by name. They share one worker process, which starts with the first question."""
    worker = Worker(limit_s=limit_s)
    return {"calculator": Calculator(worker), "units": Units(worker)}


def load_expert(folder: Path) -> Expert:
    """The expert in one adapter folder. Never raises for what the folder holds.

    A folder without a card, such as an adapter fetched from a hub, gets a plain one made from its name.
    """
    problem = _adapter_problem(folder)
    if not (folder / CARD).exists():
        name = slug(folder.name)
        if problem:
            return _broken(name, problem, folder)
        about = f"An adapter in the folder {folder.name}, which has no card."
        return Expert(name, "lora", folder.name[:60], about, name[:2].title(), SLOTS - 1, folder=str(folder))
    try:
        card = Card.model_validate_json((folder / CARD).read_bytes())
    except OSError as error:
        return _broken(slug(folder.name), f"{CARD} cannot be read: {error.strerror}.", folder)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its text"
        return _broken(slug(folder.name), f"{CARD}: {field}: {first['msg']}.", folder)
    return Expert(kind="lora", ready=not problem, reason=problem, folder=str(folder), **card.model_dump())


def _adapter_problem(folder: Path) -> str:
    """Why the adapter cannot be used, as far as its small parts tell; empty when nothing is wrong."""
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
    """Why a safetensors file cannot be whole, judged by its header: 8 bytes of length, then JSON with byte offsets."""
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


def _folders(experts_dir: Path) -> list[Path]:
    try:
        children = sorted(experts_dir.iterdir())
    except OSError:
        return []  # no adapters are installed: the base and the tools still work
    return [path for path in children if path.is_dir() and not path.name.startswith((".", "_"))]


def slug(text: str) -> str:
    """An expert's name made of `text`: lower case, digits and underscores, at most 40 characters."""
    letters = "".join(char if char.isascii() and char.isalnum() else "_" for char in text.lower()).strip("_")
    letters = re.sub("_+", "_", letters)[:40].rstrip("_")
    return letters if NAME.match(letters) else f"expert_{letters}"[:40].rstrip("_")


def free_name(text: str, names: Collection[str]) -> str:
    """A name made of `text` that is neither among `names` nor kept for the base and the tools."""
    name, number = slug(text), 2
    while name in names or name in TAKEN:
        name, number = f"{slug(text)[:36]}_{number}", number + 1
    return name


def _broken(name: str, reason: str, folder: Path) -> Expert:
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
