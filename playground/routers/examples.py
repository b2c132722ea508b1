"""The project's own example prompts: which expert should answer what. Routers are first fitted on them.

Every fifth prompt of an expert is a probe: kept out of every fit, for before and after.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.errors import ArtefactError
from playground.settings import ROOT

EXAMPLES = ROOT / "data" / "examples" / "prompts.jsonl"


class Example(BaseModel):
    """One prompt and the expert that should answer it; `probe` ones are never fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    expert: str = Field(min_length=1)
    probe: bool = False


@dataclass(frozen=True, eq=False)
class ExampleSet:
    """Examples ready for a fit: `embeddings` (N, d), `answers` (N,) int positions in `experts`."""

    experts: tuple[str, ...]
    prompts: tuple[str, ...]
    embeddings: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: np.ndarray) -> "ExampleSet":
        """The examples at `rows` (int or bool), over the same experts."""
        at = np.arange(len(self))[rows]
        return ExampleSet(self.experts, tuple(self.prompts[i] for i in at), self.embeddings[at], self.answers[at])


def load_examples(path: Path = EXAMPLES) -> tuple[Example, ...]:
    """The examples of a JSON-lines file, in its order. Raises ArtefactError that names the first bad line."""
    found: list[Example] = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ArtefactError(
            f"The example prompts cannot be read: {error.strerror}.", f"Restore {path.name}."
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Example.model_validate_json(line))
        except ValidationError as error:
            raise ArtefactError(f"Line {number} of {path.name} is no example: {error.errors()[0]['msg']}.") from error
    return tuple(found)


def folds(examples: ExampleSet, count: int) -> np.ndarray:
    """(N,) int in 0..count-1: every expert's examples dealt out in turn, so each fold has some of each."""
    dealt = np.zeros(len(examples), np.int64)
    for expert in range(len(examples.experts)):
        rows = np.flatnonzero(examples.answers == expert)
        dealt[rows] = np.arange(len(rows)) % count
    return dealt
