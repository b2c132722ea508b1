"""The project's own example prompts, each with the expert that should answer it. Policies are first fitted on them.

Every fifth prompt of an expert is a probe. Probes are kept out of every fit, to show what a fit changed.
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
    """A prompt, and the expert that should answer it. No router is fitted on a probe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    expert: str = Field(min_length=1)
    probe: bool = False


def load_examples(path: Path = EXAMPLES) -> tuple[ExamplePrompt, ...]:
    """Return the examples of a JSON-lines file, in its order. Raise ArtefactError, which names the first bad line."""
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
            problem = error.errors()[0]["msg"]
            raise ArtefactError(f"Line {number} of {path.name} is not an example: {problem}.") from error
    return tuple(found)


def example_set(encoder: TextEncoder, examples: Sequence[ExamplePrompt]) -> ExampleSet:
    """Return `examples` with embeddings, over the experts that they name, in order. An expert need not be installed."""
    experts = tuple(dict.fromkeys(example.expert for example in examples))
    answers = np.array([experts.index(example.expert) for example in examples], np.int64)
    prompts = tuple(example.prompt for example in examples)
    return ExampleSet(experts, prompts, encoder.encode(prompts), answers)


def shipped_examples(encoder: TextEncoder) -> ExampleSet:
    """Return the shipped example prompts without the probes. The default encoder embeds them in a second or two."""
    return example_set(encoder, [example for example in load_examples() if not example.probe])


def folds(examples: ExampleSet, count: int) -> np.ndarray:
    """Return the fold (N,) int of each example, in 0..count-1. Each expert's examples are spread over all folds."""
    dealt = np.zeros(len(examples), np.int64)
    for expert in range(len(examples.experts)):
        rows = np.flatnonzero(examples.answers == expert)
        dealt[rows] = np.arange(len(rows)) % count
    return dealt
