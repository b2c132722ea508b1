"""Writes a trained expert as a plain PEFT folder: float16 adapter, card.json for the page, README.md for people."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from playground.core.statistics import mean_interval
from playground.learn.recipes import Recipe
from playground.learn.tasks import Row, Task, read_rows, sample_rows
from playground.model.base import BaseModel
from playground.model.scoring import answer_logprobs, choose

TEST_ROWS = 300
LOSS_ROWS = 100


def row_score(model: Any, base: BaseModel, task: Task, row: Row) -> float:
    """1 or 0 for a choice task; the mean negative log-likelihood per answer token, in nats, for a loss task."""
    prompt = base.chat_ids(task.prompt(row))
    end = base.tokenizer.eos_token_id
    if task.choices and task.correct:
        answers = [[*base.answer_ids(text), end] for text in task.choices(row)]
        return float(task.correct(row, choose(model, prompt, answers)))
    [logprobs] = answer_logprobs(model, prompt, [[*base.answer_ids(task.answer(row)), end]])
    return -float(logprobs.mean())


def write_card(
    model: Any,
    base: BaseModel,
    recipe: Recipe,
    task: Task,
    *,
    data: Path,
    out: Path,
    seed: int,
    losses: dict[str, float],
) -> dict[str, Any]:
    """Measure base and expert on the test set, write the folder, return the card."""
    model.eval()
    rows = sample_rows(read_rows(data, task.folder, "test"), TEST_ROWS if task.choices else LOSS_ROWS, seed)
    after = [row_score(model, base, task, row) for row in rows]
    with model.disable_adapter():
        before = [row_score(model, base, task, row) for row in rows]
    unit = "accuracy" if task.choices else "answer loss (nats per token, lower is better)"
    shown = {}
    for label, scores in (("base", before), ("expert", after)):
        mean, low, high = mean_interval(scores)
        shown[label] = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    card = {
        "name": recipe.name,
        "title": recipe.title,
        "description": recipe.description,
        "mark": recipe.mark,
        "slot": recipe.slot,
        "licence": recipe.licence,
        "trained_on": recipe.trained_on,
        "figure": f"{unit}: base {shown['base']} → expert {shown['expert']} on {len(rows)} test rows of {task.folder}",
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


def _readme(card: dict[str, Any], base: BaseModel, recipe: Recipe) -> str:
    training = card["training"]
    before, after = training["validation_before"], training["validation_after"]
    return f"""---
library_name: peft
base_model: {base.name}
license: apache-2.0
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
