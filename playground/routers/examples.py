"""The project's own example prompts: which expert should answer what. Policies are first fitted on them.

Every fifth prompt of an expert is a probe: kept out of every fit, for before and after.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.encode.base import TextEncoder
from playground.errors import ArtefactError
from playground.routers.base import ExampleSet
from playground.settings import ROOT

EXAMPLES = ROOT / "data" / "examples" / "prompts.jsonl"


class ExamplePrompt(BaseModel):
    """One prompt and the expert that should answer it; probes are never fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    expert: str = Field(min_length=1)
    probe: bool = False


def load_examples(path: Path = EXAMPLES) -> tuple[ExamplePrompt, ...]:
    """Return the examples of a JSON-lines file, in its order. Raise ArtefactError that names the first bad line."""
    found: list[ExamplePrompt] = []
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
            found.append(ExamplePrompt.model_validate_json(line))
        except ValidationError as error:
            raise ArtefactError(f"Line {number} of {path.name} is no example: {error.errors()[0]['msg']}.") from error
    return tuple(found)


def example_set(encoder: TextEncoder, examples: Sequence[ExamplePrompt]) -> ExampleSet:
    """Return `examples` embedded, over the experts they name in that order, whichever of them are installed."""
    experts = tuple(dict.fromkeys(example.expert for example in examples))
    answers = np.array([experts.index(example.expert) for example in examples], np.int64)
    prompts = tuple(example.prompt for example in examples)
    return ExampleSet(experts, prompts, encoder.encode(prompts), answers)


def shipped_examples(encoder: TextEncoder) -> ExampleSet:
    """Return the shipped example prompts that are no probes, embedded; a second or two for the default encoder."""
    return example_set(encoder, [example for example in load_examples() if not example.probe])


def folds(examples: ExampleSet, count: int) -> np.ndarray:
    """Return (N,) int in 0..count-1: every expert's examples dealt out in turn, so each fold has some of each."""
    dealt = np.zeros(len(examples), np.int64)
    for expert in range(len(examples.experts)):
        rows = np.flatnonzero(examples.answers == expert)
        dealt[rows] = np.arange(len(rows)) % count
    return dealt
