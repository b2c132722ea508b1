"""Make the rows that gates learn from: each expert's own training rows, and spliced rows of two experts.

Each token has an owner, the expert that it belongs to. The owner changes in the middle of a spliced row. This module
knows nothing of any gate's loss.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from playground.encode.base import TextEncoder
from playground.errors import InvalidRequest
from playground.learn.examples import TrainingExample, mixed_examples
from playground.learn.experts.recipes import RECIPES
from playground.model.base import LanguageModel


@dataclass(frozen=True, eq=False)
class Owned:
    """An example whose tokens belong to experts. `owners` (T,) are indices into the experts that it was made for.

    `embedding` (d_z,) is that of the prompt. `task` names the data set. It is '' for a spliced row.
    """

    example: TrainingExample
    owners: tuple[int, ...]
    embedding: Tensor
    task: str

    @property
    def expert(self) -> int:
        """Return the owner of the last token."""
        return self.owners[-1]


def domains(
    base: LanguageModel,
    encoder: TextEncoder,
    experts: Sequence[str],
    data: Path,
    *,
    rows: Callable[[str], int],
    limit: int,
    seed: int,
    kept: Path,
) -> tuple[dict[str, list[Owned]], dict[str, list[Owned]]]:
    """Return (training, validation) examples by expert, with about `rows(expert)` training rows each.

    The base has none. Raise InvalidRequest when no expert has a recipe, or when a set is missing in `data`.
    """
    training: dict[str, list[Owned]] = {}
    validation: dict[str, list[Owned]] = {}
    for index, expert in enumerate(experts):
        if expert not in RECIPES:
            continue
        found = mixed_examples(
            base, RECIPES.get(expert), data, count=rows(expert), limit=limit, seed=seed, kept=kept / expert
        )
        for examples, place in zip(found, (training, validation), strict=True):
            embeddings = torch.from_numpy(encoder.encode([example.prompt for example in examples]))
            place[expert] = [
                Owned(example, (index,) * len(example.ids), embedding, example.task)
                for example, embedding in zip(examples, embeddings, strict=True)
            ]
    if not training:
        raise InvalidRequest("No training data is known for these experts.", "Train the gate on the shipped experts.")
    return training, validation


def spliced(
    base: LanguageModel,
    encoder: TextEncoder,
    training: Mapping[str, Sequence[Owned]],
    *,
    count: int,
    limit: int,
    seed: int,
) -> list[Owned]:
    """Return `count` examples that join rows of two experts: both prompts, then both answers.

    Template tokens before the first part belong to its owner. Those in between belong to the owner of what they follow.
    A draw of more than `limit` tokens is repeated. After 20 times `count` draws, longer ones are taken too. Rows of
    fewer than two experts give no examples.
    """
    chooser = random.Random(seed)
    made: list[Owned] = []
    tries = 0
    names = [name for name, rows in training.items() if rows]
    while len(made) < count and len(names) > 1:
        first, second = (chooser.choice(training[name]) for name in chooser.sample(names, 2))
        text = f"{first.example.prompt}\n\n{second.example.prompt}"
        prompt = base.chat_ids(text)
        cut = _place_of(base, prompt, f"{first.example.prompt}\n\n")
        answers = [list(owned.example.ids[owned.example.start :]) for owned in (first, second)]
        ids = prompt + answers[0][:-1] + base.answer_ids("\n\n") + answers[1]
        owners = [first.expert] * cut + [second.expert] * (len(prompt) - cut)
        owners += [first.expert] * (len(ids) - len(prompt) - len(answers[1])) + [second.expert] * len(answers[1])
        tries += 1
        if len(ids) > limit and tries < 20 * count:
            continue
        embedding = torch.from_numpy(np.asarray(encoder.encode([text])[0]))
        made.append(Owned(TrainingExample(tuple(ids), len(prompt), text, ""), tuple(owners), embedding, ""))
    return made


def _place_of(base: LanguageModel, prompt: Sequence[int], first: str) -> int:
    """Return how many tokens of the chat `prompt` stand before the second part, whose text follows `first`."""
    alone = base.chat_ids(first.strip() or "x")
    same = 0
    while same < min(len(alone), len(prompt)) and alone[same] == prompt[same]:
        same += 1
    return same
