"""Turn data rows into training examples: the token ids of a prompt and its answer.

Experts and gates both learn from these. This module knows nothing of adapters or gates.
"""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from playground.learn.experts.recipes import ExpertRecipe
from playground.learn.fingerprints import fingerprint
from playground.learn.rows import DataRow, sample_rows, split_rows
from playground.learn.tasks import TASKS, Task
from playground.model.base import LanguageModel

VALIDATION_ROWS = 64
REPLIES = 400
REPLY_TOKENS = 64


@dataclass(frozen=True)
class TrainingExample:
    """Token ids of a prompt and its answer; the loss counts from `start`. `prompt` is a text, `task` names the set."""

    ids: tuple[int, ...]
    start: int
    prompt: str = ""
    task: str = ""


def make_examples(
    base: LanguageModel,
    task: Task,
    rows: Sequence[DataRow],
    *,
    seed: int | None,
    limit: int,
    answer_tokens: int | None = None,
) -> list[TrainingExample]:
    """Return tokenised rows of at most `limit` tokens, with answers cut at `answer_tokens`.

    Without a `seed` each row uses the template for measuring, else a template is drawn for it. Rows of a task without
    answers hold the base's reply under 'reply', and whether it ended under 'ended'.
    """
    chooser = None if seed is None else random.Random(seed)
    examples = []
    for row in rows:
        text = task.prompt(row, chooser)
        prompt = base.chat_ids(text, task.opening(row))
        answer = base.answer_ids(task.answer(row) if task.answer else row["reply"])
        if row.get("ended", True):
            answer = [*answer, base.tokenizer.eos_token_id]
        answer = answer[:answer_tokens]
        if len(prompt) + len(answer) <= limit:
            examples.append(TrainingExample(tuple(prompt + answer), len(prompt), text, task.name))
    return examples


def greedy_replies(base: LanguageModel, model: Any, prompts: Sequence[str], tokens: int) -> list[tuple[str, bool]]:
    """Return (reply, whether it ended by itself) for each prompt, decoded greedily by the library, at most `tokens`."""
    tokenizer = base.tokenizer
    made: list[tuple[str, bool]] = []
    for start in range(0, len(prompts), 32):
        ids = [base.chat_ids(prompt) for prompt in prompts[start : start + 32]]
        batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(base.model.device)
        with torch.inference_mode():
            answers = model.generate(
                **batch, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id
            )[:, batch["input_ids"].shape[1] :]
        for answer in answers.tolist():
            text = tokenizer.decode(answer, skip_special_tokens=True).strip()
            made.append((text, tokenizer.eos_token_id in answer))
    return made


def with_replies(base: LanguageModel, task: Task, rows: Sequence[DataRow], kept: Path) -> list[DataRow]:
    """Return `rows` with the base's greedy reply to each, at most REPLY_TOKENS tokens. Save them in the file `kept`."""
    prompts = [task.prompt(row) for row in rows]
    of = fingerprint(base.name, str(base.dtype), str(REPLY_TOKENS), *prompts)
    if kept.is_file():
        known = json.loads(kept.read_text())
        if isinstance(known, dict) and known["of"] == of:
            return [{**row, **reply} for row, reply in zip(rows, known["replies"], strict=True)]
    replies = [
        {"reply": text, "ended": ended} for text, ended in greedy_replies(base, base.model, prompts, REPLY_TOKENS)
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"of": of, "replies": replies}))
    return [{**row, **reply} for row, reply in zip(rows, replies, strict=True)]


def balanced_rows(rows: Sequence[DataRow], seed: int) -> list[DataRow]:
    """Return all rows. Those with rarer answers are repeated until every answer is equally frequent."""
    groups: dict[str, list[DataRow]] = {}
    for row in sample_rows(rows, len(rows), seed):
        groups.setdefault(row["answer"], []).append(row)
    most = max(map(len, groups.values()))
    return [row for answer in sorted(groups) for row in itertools.islice(itertools.cycle(groups[answer]), most)]


def mixed_examples(
    base: LanguageModel, recipe: ExpertRecipe, data: Path, *, count: int, limit: int, seed: int, kept: Path
) -> tuple[list[TrainingExample], list[TrainingExample]]:
    """Return (training, validation) examples in the shares of a recipe's mix.

    There are about `count` training and VALIDATION_ROWS validation examples. A task with fewer rows than its share
    gives what it has. Replies of the base are kept in the folder `kept`. Raise InvalidRequest for a missing set.
    """
    training: list[TrainingExample] = []
    validation: list[TrainingExample] = []
    for name, share in recipe.mix:
        task = TASKS[name]
        rows, held = split_rows(data, task.folder, seed)
        rows = [row for row in rows if task.keep(row)]
        if task.balanced:
            # both parts alike: a model that learned equal frequencies loses where they are not equal
            rows, held = balanced_rows(rows, seed), balanced_rows(held, seed)
        wanted, wanted_held = round(count * share), max(4, round(VALIDATION_ROWS * share))
        if task.answer is None:
            rows = with_replies(base, task, sample_rows(rows, min(wanted, REPLIES), seed), kept / f"{name}-train.json")
            held = with_replies(base, task, sample_rows(held, wanted_held, seed), kept / f"{name}-held.json")
        # rows that are too long are dropped, so draw three times as many
        cut = recipe.answer_tokens
        drawn = make_examples(
            base, task, sample_rows(rows, wanted * 3, seed), seed=seed, limit=limit, answer_tokens=cut
        )
        training += drawn[:wanted]
        drawn = make_examples(
            base, task, sample_rows(held, wanted_held * 3, seed), seed=None, limit=limit, answer_tokens=cut
        )
        validation += drawn[:wanted_held]
    return training, validation
