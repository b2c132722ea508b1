"""Read the rows of a split, draw from them, and keep training apart from testing. No model is needed here.

A data folder holds one folder per set, with `train|validation|test.jsonl[.gz]`. A set that the folder lacks is looked
for among those that the project wrote itself.
"""

import gzip
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playground.errors import InvalidRequest
from playground.settings import SMALL_DATA

DataRow = dict[str, Any]


def read_rows(data: Path, folder: str, split: str) -> list[DataRow]:
    """Return the rows of one split, in file order. Return none when the split is not there.

    Raise InvalidRequest for a folder that is not there or a line that is not JSON.
    """
    place = next((root / folder for root in (data, SMALL_DATA) if (root / folder).is_dir()), None)
    if place is None:
        raise InvalidRequest(f"The data folder {data} has no set {folder}.", "Give --data a folder with that set.")
    for name in (f"{split}.jsonl.gz", f"{split}.jsonl"):
        path = place / name
        if path.is_file():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as lines:
                try:
                    return [json.loads(line) for line in lines if line.strip()]
                except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile) as error:
                    raise InvalidRequest(
                        f"{path} is not JSON lines: {error}.", "Repair or remove that file."
                    ) from error
    return []


def normalised_prompt(text: str) -> str:
    """Return `text` in lower case with one space between words, so that equal prompts compare equal."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def without_overlap(rows: Sequence[DataRow], others: Sequence[DataRow]) -> list[DataRow]:
    """Return the rows whose prompt is not among the prompts of `others`."""
    seen = {normalised_prompt(row["prompt"]) for row in others}
    return [row for row in rows if normalised_prompt(row["prompt"]) not in seen]


def sample_rows(rows: Sequence[DataRow], count: int, seed: int) -> list[DataRow]:
    """Return `count` of `rows`, or all when there are fewer. They depend on the seed, not on the order of `rows`."""

    def place(row: DataRow) -> bytes:
        return hashlib.sha256(f"{seed}:{normalised_prompt(row['prompt'])}".encode()).digest()

    return sorted(rows, key=place)[:count]


def split_rows(data: Path, folder: str, seed: int) -> tuple[list[DataRow], list[DataRow]]:
    """Return (training, validation) rows that share no prompt with each other or with the test rows.

    A set without validation rows gives a part of its training rows for them. A set without training rows is trained on
    its validation rows, less such a part.
    """
    train = read_rows(data, folder, "train")
    held = read_rows(data, folder, "validation")
    if not train:
        train, held = held, []
    if not held:
        held = sample_rows(train, min(200, max(1, len(train) // 10)), seed)
    test = read_rows(data, folder, "test")
    held = without_overlap(held, test)
    return without_overlap(train, [*test, *held]), held
