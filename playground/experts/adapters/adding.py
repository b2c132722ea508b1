"""Adds an adapter to the experts, and removes it again: copy it, check it, give it a card, move it into place.

Knows files and cards. A function given by the caller checks whether an adapter fits the base model.
"""

import json
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from playground.core.adapter_format import WEIGHTS
from playground.core.checklist import Checklist, Line
from playground.core.values import Expert, Pool
from playground.errors import InvalidRequest, StorageError
from playground.experts.adapters.cards import CARD, MAX_SOURCE, Card, free_name
from playground.experts.adapters.facts import facts_of, file_fact
from playground.experts.adapters.model_card import licence_of
from playground.experts.adapters.sources import README, SIZE, stage
from playground.experts.base import SLOTS, kept_names

STAGING = ".staging-"  # the catalogue skips names that begin with a dot
STAGING_SECONDS = 86_400.0
MAX_EXAMPLES = 16
NOT_STATED = "not stated"
Examine = Callable[[Path, str], Checklist]  # (folder, name) -> whether the adapter fits the base


@dataclass(frozen=True)
class Candidate:
    """An adapter that was copied and checked, with a suggested card. `keep` it or `discard` it."""

    folder: Path
    label: str
    checklist: Checklist
    card: Card


def check(
    source: str | Sequence[Path], *, pool: Pool, added_dir: Path, limit_bytes: int, examine: Examine
) -> Candidate:
    """Copy the adapter and check it. Nothing is added yet: the files wait in a hidden folder of `added_dir`.

    Args:
        source: a folder, a zip file, a hub id, or uploaded files.
        pool: the experts that are installed.
        added_dir: the folder that holds what people added.
        limit_bytes: the largest weights that are taken.
        examine: checks whether the adapter in a folder fits the base model.

    Raise InvalidRequest when `source` names nothing, StorageError when the disk refuses.
    """
    try:
        added_dir.mkdir(parents=True, exist_ok=True)
        _sweep(added_dir)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=added_dir))
    except OSError as error:
        raise StorageError(
            f"The data folder cannot be written to ({error.strerror}).", "Set PLAYGROUND_DATA_DIR."
        ) from error
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        staged = stage(source, folder, limit_bytes)
        card = _suggested(staged.label, folder, pool)
        checklist = staged.checklist
        if checklist.ok:
            checklist += examine(folder, card.name)
        elif staged.is_too_large:  # another reason comes first: with it, a larger limit would not help
            deeper = examine(folder, card.name)
            checklist = checklist if deeper.failure is None or deeper.failure.title == SIZE else deeper
        if checklist.ok:
            checklist += Checklist.of([*_twins(folder, pool), name_line(card.name, pool)])
        undo.pop_all()
        return Candidate(folder, staged.label, checklist, card)


def discard(candidate: Candidate) -> None:
    """Delete the files of a candidate that is not wanted. One that was added is not touched."""
    shutil.rmtree(candidate.folder, ignore_errors=True)


def _sweep(added_dir: Path) -> None:
    """Delete what an earlier process left behind in the middle of a check."""
    for folder in added_dir.glob(f"{STAGING}*"):
        if time.time() - folder.stat().st_mtime > STAGING_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _twins(folder: Path, pool: Pool) -> list[Line]:
    """Return a warning when an expert of `pool` has the same weights."""
    mine = file_fact(folder / WEIGHTS).sha256
    facts = [(expert.title, facts_of(expert)) for expert in pool.experts]
    same = [title for title, fact in facts if fact and mine in {file.sha256 for file in fact.files}]
    return [Line("Weights", "warn", f"The same weights are already here as {same[0]}.")] if same else []


def name_line(name: str, pool: Pool) -> Line:
    """Return whether an expert may be called `name` in `pool`, as a line of a checklist."""
    if name in pool.names or name in kept_names():
        return Line("Name", "fail", f"The name {name} is taken by another expert.", "Choose another name.")
    return Line("Name", "pass", f"The name {name} is free.")


# --- the card ---------------------------------------------------------------------------------------------------


def _suggested(label: str, folder: Path, pool: Pool) -> Card:
    """Return a card to begin with: usable parts of what came with the adapter, and a name and mark free in `pool`."""
    told = _told(folder)
    plain = re.sub(r"\.zip$", "", label.partition("@")[0].rpartition("/")[2] or label)
    title = str(told.get("title") or plain.replace("_", " ").replace("-", " ")).strip()[:60] or "Adapter"
    name = free_name(str(told.get("name") or plain), pool.names)
    used = Counter(expert.slot for expert in pool.experts)
    examples = told.get("examples")
    return Card(
        name=name,
        title=title,
        description=str(told.get("description") or f"An adapter from {label}.")[:600],
        mark=_free_mark(title, pool),
        slot=min(range(SLOTS), key=lambda slot: (used[slot], slot)),
        licence=str(told.get("licence") or NOT_STATED)[:100],
        trained_on=str(told.get("trained_on") or "")[:300],
        figure=str(told.get("figure") or "")[:300],
        examples=tuple(str(text)[:2000] for text in examples[:MAX_EXAMPLES]) if isinstance(examples, list) else (),
        source=label[:MAX_SOURCE],
    )


def _told(folder: Path) -> dict[str, Any]:
    """Return what the files that came with an adapter say: its own card, or the licence of a model card."""
    told: dict[str, Any] = {}
    try:
        licence = licence_of((folder / README).read_text("utf-8", errors="replace"))
        told = {"licence": licence} if licence else {}
    except OSError:
        pass  # most adapters have none
    try:
        card = json.loads((folder / CARD).read_bytes())
        if isinstance(card, dict):  # half a surrogate pair is legal JSON, but neither a card nor the page can hold it
            told |= json.loads(json.dumps(card, ensure_ascii=False).encode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        pass  # as above
    return told


def _free_mark(title: str, pool: Pool) -> str:
    """Return two letters, of `title` where possible, that no other expert has as its mark."""
    letters = [char for char in title if char.isascii() and char.isalpha()] or ["X"]
    taken = {expert.mark.lower() for expert in pool.experts}
    marks = [(letters[0] + other).title() for other in (*letters[1:], *"abcdefghijklmnopqrstuvwxyz")]
    return next((mark for mark in marks if mark.lower() not in taken), marks[0])


def card_from(suggested: Card, **fields: Any) -> Card:
    """Return `suggested` with a person's `fields`. Texts are stripped; None keeps what was suggested.

    Raise InvalidRequest that names the wrong field.
    """
    given = {key: value for key, value in fields.items() if value is not None}
    given |= {key: value.strip() for key, value in given.items() if isinstance(value, str)}
    examples = [text.strip() for text in given.pop("examples", suggested.examples) if text.strip()]
    if len(examples) > MAX_EXAMPLES:
        raise InvalidRequest(f"{len(examples)} examples are too many.", f"Give at most {MAX_EXAMPLES}.")
    values = {**suggested.model_dump(), **given, "examples": examples}
    values["licence"] = values["licence"] or NOT_STATED
    try:
        return Card.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "card"
        remedy = "Use lower case, digits and underscores, a letter first." if field == "name" else "Correct it."
        raise InvalidRequest(f"The {field} cannot be used: {first['msg'].lower()}.", remedy) from error


# --- in and out ---------------------------------------------------------------------------------------------------


def keep(candidate: Candidate, card: Card, pool: Pool) -> Path:
    """Move a candidate that passed into its place, with its card. Return its new folder.

    Raise InvalidRequest when it did not pass or its name is taken, StorageError when the disk refuses.
    """
    (candidate.checklist + Checklist((name_line(card.name, pool),))).require(card.title)
    target = candidate.folder.parent / card.name
    if target.exists():
        raise InvalidRequest(f"The name {card.name} is taken by another expert.", "Choose another name.")
    try:
        text = json.dumps(card.model_dump(), indent=1, ensure_ascii=False)
        (candidate.folder / CARD).write_text(text + "\n", "utf-8")
        candidate.folder.rename(target)
    except FileNotFoundError as error:
        raise InvalidRequest(
            "The files of the checked adapter are no longer here.", "Check the adapter again."
        ) from error
    except OSError as error:
        raise StorageError(f"The expert cannot be stored ({error.strerror}).", "Free some disk space.") from error
    return target


def removable(pool: Pool, name: str) -> Expert:
    """Return the expert called `name`. Raise InvalidRequest when it is unknown or came with the playground."""
    expert = pool.experts[pool.index(name)]
    if not expert.is_added:
        raise InvalidRequest(f"{expert.title} came with the playground.", "Only added experts can be removed.")
    return expert


def delete(expert: Expert) -> None:
    """Delete the files of an added expert. Raise StorageError when the disk refuses."""
    folder = Path(expert.folder)
    try:
        hidden = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder.parent))
        folder.rename(hidden / folder.name)  # moved away at once: a half-deleted folder would be a broken expert
        shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"{expert.title} cannot be deleted ({error.strerror}).", f"Delete {folder.name} by hand."
        ) from error
