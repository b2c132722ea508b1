"""The tasks experts are trained and measured on: how a data row reads as a prompt and an answer.

A data folder holds one folder per set with `train|validation|test.jsonl.gz` rows of `prompt`, `answer` and, where they
apply, `choices`, `labels`, `solution`. Knows nothing of models.
"""

import gzip
import hashlib
import json
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playground.errors import InvalidRequest

Row = dict[str, Any]
Metric = Literal["accuracy", "matthews", "loss"]

EMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire"),
    *("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy"),
    *("love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
)


@dataclass(frozen=True)
class Task:
    """One data set: `prompts` are templates with {text}, the first one is used for measuring.

    `metric` accuracy and matthews choose among `choices(row)` by likelihood; loss is the mean negative log-likelihood
    per answer token in nats, lower is better.
    """

    name: str
    folder: str
    metric: Metric
    prompts: tuple[str, ...]
    answer: Callable[[Row], str]
    choices: Callable[[Row], list[str]] | None = None
    correct: Callable[[Row, int], bool] | None = None
    exact: Callable[[str, Row], bool] | None = None

    def prompt(self, row: Row, chooser: random.Random | None = None) -> str:
        """The prompt for `row`: the measuring template, or a drawn one for training."""
        template = chooser.choice(self.prompts) if chooser else self.prompts[0]
        return template.replace("{text}", row["prompt"].strip())


def clean_solution(row: Row) -> str:
    """A GSM8K worked solution without calculator marks, ending in 'The answer is N.'"""
    steps, _, final = row["solution"].partition("####")
    return re.sub(r"<<[^>]*>>", "", steps).strip() + f"\nThe answer is {final.strip()}."


def final_number(text: str) -> str | None:
    """The number after 'answer is', else the last number in `text`, without thousands separators."""
    stated = re.findall(r"answer is\s*\$?(-?[\d,]*\.?\d+)", text)
    numbers = stated or re.findall(r"-?\d[\d,]*\.?\d*", text)
    return numbers[-1].replace(",", "").rstrip(".") if numbers else None


SENTIMENTS = ("negative", "positive")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="sentiment",
            folder="sentiment_sst2",
            metric="accuracy",
            prompts=(
                "Is the sentiment of this review positive or negative?\n{text}",
                "{text}",
                "What is the tone of this sentence: {text}",
                'Positive or negative? "{text}"',
            ),
            answer=lambda row: f"The sentiment is {row['answer']}.",
            choices=lambda row: [f"The sentiment is {word}." for word in SENTIMENTS],
            correct=lambda row, index: SENTIMENTS[index] == row["answer"],
        ),
        Task(
            name="emotion",
            folder="emotion_goemotions",
            metric="accuracy",
            prompts=(
                "Which emotion does this message express?\n{text}",
                "{text}",
                "What does the writer feel? {text}",
                'Name the emotion: "{text}"',
            ),
            answer=lambda row: f"The emotion is {row['answer']}.",
            choices=lambda row: [f"The emotion is {word}." for word in EMOTIONS],
            correct=lambda row, index: EMOTIONS[index] in row["labels"],
        ),
        Task(
            name="math",
            folder="math_gsm8k",
            metric="loss",
            prompts=("{text}",),
            answer=clean_solution,
            exact=lambda text, row: final_number(text) == row["answer"].replace(",", ""),
        ),
        Task(
            name="general",
            folder="general_selfinstruct",
            metric="loss",
            prompts=("{text}",),
            answer=lambda row: str(row["answer"]).strip(),
        ),
    )
}


def read_rows(data: Path, folder: str, split: str) -> list[Row]:
    """The rows of one split, in file order; empty when the split is not there.

    Raises InvalidRequest for a folder that is not there or a line that is not JSON.
    """
    if not (data / folder).is_dir():
        raise InvalidRequest(f"The data folder {data} has no set {folder}.", "Give --data a folder with that set.")
    for name in (f"{split}.jsonl.gz", f"{split}.jsonl"):
        path = data / folder / name
        if path.is_file():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as lines:
                try:
                    return [json.loads(line) for line in lines if line.strip()]
                except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile) as error:
                    raise InvalidRequest(f"{path} is not JSON lines: {error}.", "Mend or remove that file.") from error
    return []


def normalised_prompt(text: str) -> str:
    """Lower case, one space between words: equal prompts compare equal, for overlap checks."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def without_overlap(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """`rows` whose prompt is in none of `others`."""
    seen = {normalised_prompt(row["prompt"]) for row in others}
    return [row for row in rows if normalised_prompt(row["prompt"]) not in seen]


def sample_rows(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` of `rows` (all when fewer), the same for the same seed whatever their order in the file."""

    def place(row: Row) -> bytes:
        return hashlib.sha256(f"{seed}:{normalised_prompt(row['prompt'])}".encode()).digest()

    return sorted(rows, key=place)[:count]
