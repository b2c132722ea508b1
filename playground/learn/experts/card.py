"""Write a trained expert as a plain PEFT folder: float16 adapter, card.json for the page, README.md for people."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from playground.core.statistics import matthews_interval, mean_interval
from playground.learn.examples import greedy_replies
from playground.learn.experts.recipes import ExpertRecipe
from playground.learn.rows import DataRow, read_rows, sample_rows
from playground.learn.tasks import TASKS, Task, refuses
from playground.model.base import LanguageModel
from playground.model.scoring import answer_logprobs, choose

TEST_ROWS = 60
LOSS_ROWS = 40
ANSWER_TOKENS = 32


def row_score(model: Any, base: LanguageModel, task: Task, row: DataRow) -> float:
    """Return 1 or 0 for a choice task. For a loss task return the mean loss per answer token, in nats."""
    prompt = base.chat_ids(task.prompt(row), task.opening(row))
    end = base.tokenizer.eos_token_id
    if task.choices and task.correct:
        answers = [[*base.answer_ids(text), end] for text in task.choices(row)]
        return float(task.correct(row, choose(model, prompt, answers)))
    if task.answer is None:
        raise ValueError(f"{task.name} has no answers to take the loss of")
    [logprobs] = answer_logprobs(model, prompt, [[*base.answer_ids(task.answer(row)), end]])
    return -float(logprobs.mean())


def summarise(task: Task, rows: Sequence[DataRow], scores: Sequence[float]) -> tuple[float, float, float]:
    """Return (value, low, high) of the task's metric from its row scores, at 95 %."""
    if task.metric == "matthews":
        truth = [row["answer"] == "acceptable" for row in rows]
        return matthews_interval(truth, [t == bool(score) for t, score in zip(truth, scores, strict=True)])
    return mean_interval(scores)


METRICS = {"accuracy": "accuracy", "matthews": "Matthews r", "loss": "answer loss in nats", "refusal": "right refusals"}


def _refusal_scores(model: Any, base: LanguageModel, rows: Sequence[DataRow]) -> list[float]:
    texts = greedy_replies(base, model, [str(row["prompt"]) for row in rows], ANSWER_TOKENS)
    return [float(refuses(text) == (row["answer"] == "refuse")) for (text, _), row in zip(texts, rows, strict=True)]


def _figure(model: Any, base: LanguageModel, task: Task, data: Path, seed: int) -> str:
    """Return one sentence with the figures of base and expert on the task's test rows."""
    rows = sample_rows(read_rows(data, task.folder, "test"), LOSS_ROWS if task.metric == "loss" else TEST_ROWS, seed)
    if not rows:
        return f"{task.name}: no test rows"
    found = []
    for adapted in (False, True):
        with nullcontext() if adapted else model.disable_adapter():
            if task.metric == "refusal":
                scores = _refusal_scores(model, base, rows)
            else:
                scores = [row_score(model, base, task, row) for row in rows]
            mean, low, high = summarise(task, rows, scores)
            found.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
    return f"{task.name} {METRICS[task.metric]}: base {found[0]} → {found[1]} (n={len(rows)})"


def write_card(
    model: Any,
    base: LanguageModel,
    recipe: ExpertRecipe,
    *,
    data: Path,
    out: Path,
    seed: int,
    losses: dict[str, float],
) -> dict[str, Any]:
    """Measure base and expert on the test sets, write the folder `out`, and return the card."""
    model.eval()
    card = {
        "name": recipe.name,
        "title": recipe.title,
        "description": recipe.description,
        "mark": recipe.mark,
        "slot": recipe.slot,
        "licence": recipe.licence,
        "trained_on": recipe.trained_on,
        "figure": "; ".join(_figure(model, base, TASKS[name], data, seed) for name in recipe.measured),
        "examples": list(recipe.examples),
        "training": {"seed": seed, "steps": recipe.steps, "batch": recipe.batch, "rate": recipe.rate, **losses},
    }
    out.mkdir(parents=True, exist_ok=True)
    adapter = {k: v.to(torch.float16).contiguous() for k, v in get_peft_model_state_dict(model).items()}
    save_file(adapter, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.inference_mode = True
    config.base_model_name_or_path = base.name
    config.save_pretrained(out)
    (out / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    (out / "README.md").write_text(_readme(card, base, recipe))
    return card


def _readme(card: dict[str, Any], base: LanguageModel, recipe: ExpertRecipe) -> str:
    training = card["training"]
    before, after = training["validation_before"], training["validation_after"]
    return f"""---
library_name: peft
base_model: {base.name}
license: {recipe.spdx}
---
# {card["title"]}

{card["description"]}

| | |
| --- | --- |
| base | {base.name} |
| data | {card["trained_on"]} |
| licence | {card["licence"]} |
| adapter | LoRA, rank {recipe.rank}, alpha {recipe.alpha}, on {", ".join(recipe.targets)}; float16 |
| training | {training["steps"]} steps of {training["batch"]}, peak rate {training["rate"]}, seed {training["seed"]} |
| validation loss, nats per answer token | {before:.3f} before, {after:.3f} after |
| test | {card["figure"]} |

Trained with `python -m playground experts train {card["name"]} --data FOLDER`; 95 % intervals in brackets.
"""
