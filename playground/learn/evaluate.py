"""Measures the base, each expert, the even mix and each gate on the tasks' test rows.

Choice tasks are scored by length-normalised likelihood, loss tasks by answer loss with exact answers beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from playground.core.statistics import mean_interval, paired_interval
from playground.core.values import Sampling
from playground.learn.expert_card import row_score
from playground.learn.rows import Row, read_rows, sample_rows
from playground.learn.tasks import MEASURED, TASKS, Task
from playground.model.base import BaseModel
from playground.model.decode import Batch
from playground.model.decode import Row as DecodeRow
from playground.model.lora import Bank
from playground.model.routing import Routing, RowRouting, routed
from playground.model.sampling import Sampler
from playground.routers.base import Gate

Progress = Callable[[str, int, int], None]
DEFAULT_LIMIT = 100
EXACT_ROWS = 24
EXACT_TOKENS = 160


def systems(bank: Bank, gates: Mapping[str, Gate]) -> dict[str, RowRouting]:
    """What is compared: 'base', each expert alone, 'uniform', and the gates whose experts are all in the bank."""
    size = len(bank)
    made = {name: RowRouting(constant=torch.eye(size)[index]) for index, name in enumerate(bank.names)}
    made["uniform"] = RowRouting(constant=torch.full((size,), 1.0 / size))
    for name, gate in gates.items():
        if set(gate.experts) <= set(bank.names):
            columns = torch.tensor([bank.names.index(expert) for expert in gate.experts])
            same = tuple(gate.experts) == bank.names
            made[name] = RowRouting(gate=gate, columns=None if same else columns)
    return made


def evaluate(
    base: BaseModel,
    bank: Bank,
    gates: Mapping[str, Gate],
    *,
    data: Path,
    test: Path | None = None,
    limit: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores with 95 % intervals as `experts evaluate --json` prints them; test rows come from `test` or `data`.

    `oracle` is each set's own expert. A loss is lower-is-better; in `average` it counts as exp(-loss), the geometric
    mean probability of an answer token, so that higher is better throughout. Raises InvalidRequest when no set is
    there.
    """
    compared = systems(bank, gates)
    sets: dict[str, Any] = {}
    for name in MEASURED:
        task = TASKS[name]
        rows = sample_rows(read_rows(test or data, task.folder, "test"), limit, seed=0)
        if not rows:
            continue
        scores = {}
        for index, (system, routing) in enumerate(compared.items()):
            if progress:
                progress(f"{name}: {system}", index, len(compared))
            scores[system] = _scores(base, bank, routing, task, rows)
        if name in bank.names:
            scores["oracle"] = scores[name]
        sets[name] = _summary(task, rows, scores, own=name)
        if task.exact:
            sets[name]["exact"] = _exact(base, bank, compared, task, rows, own=name)
    return {"sets": sets, "average": _average(sets)}


def _scores(base: BaseModel, bank: Bank, routing: RowRouting, task: Task, rows: Sequence[Row]) -> list[float]:
    class Routed:
        """The model under one routing, as the scoring functions call it; rows of a call share the routing."""

        def parameters(self) -> Any:
            return base.model.parameters()

        def __call__(self, input_ids: torch.Tensor, **arguments: Any) -> Any:
            with routed(Routing([routing] * input_ids.shape[0], len(bank))):
                return base.model(input_ids=input_ids, **arguments)

    return [row_score(Routed(), base, task, row) for row in rows]


def _summary(task: Task, rows: Sequence[Row], scores: Mapping[str, list[float]], *, own: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    sign = -1.0 if task.metric == "loss" else 1.0
    for system, values in scores.items():
        mean, low, high = mean_interval(values)
        gain, gain_low, gain_high = paired_interval(sign * (np.array(values) - np.array(scores["base"])))
        shown[system] = {"score": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
        if system != "base":
            shown[system]["gain"] = {"mean": round(gain, 4), "low": round(gain_low, 4), "high": round(gain_high, 4)}
    return {"metric": task.metric, "n": len(rows), "expert": own, "systems": shown}


def _average(sets: Mapping[str, Any]) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for values in sets.values():
        for system, shown in values["systems"].items():
            score = float(np.exp(-shown["score"])) if values["metric"] == "loss" else shown["score"]
            totals.setdefault(system, []).append(score)
    return {system: round(sum(values) / len(values), 4) for system, values in totals.items()}


def _exact(
    base: BaseModel, bank: Bank, compared: Mapping[str, RowRouting], task: Task, rows: Sequence[Row], *, own: str
) -> dict[str, Any]:
    """Share of greedy answers that are exactly right, for the base and the set's own expert."""
    found: dict[str, Any] = {}
    for system in ("base", own):
        if system not in compared or task.exact is None:
            continue
        asked = rows[:EXACT_ROWS]
        texts = greedy_answers(base, bank, compared[system], [task.prompt(row) for row in asked])
        hits = [float(task.exact(text, row)) for text, row in zip(texts, asked, strict=True)]
        mean, low, high = mean_interval(hits)
        found[system] = {"score": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(hits)}
    return found


def greedy_answers(
    base: BaseModel, bank: Bank, routing: RowRouting, prompts: Sequence[str], *, tokens: int = EXACT_TOKENS
) -> list[str]:
    """The greedy answer to each prompt, eight at a time, at most `tokens` tokens long."""
    texts = []
    for start in range(0, len(prompts), 8):
        batch = Batch(base, bank)
        answers: dict[int, list[int]] = {}
        live: list[tuple[int, DecodeRow]] = []
        for index, prompt in enumerate(prompts[start : start + 8]):
            sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), int(base.model.config.vocab_size))
            row = DecodeRow(base.chat_ids(prompt), routing, sampler)
            _, step = batch.join(row)
            answers[index] = [step.drawn.token_id]
            live.append((index, row))
        while live:
            steps = batch.step()
            for (index, row), step in zip(list(live), steps, strict=True):
                answers[index].append(step.drawn.token_id)
                if step.drawn.token_id in base.end_ids or len(answers[index]) >= tokens:
                    batch.leave(row)
                    live.remove((index, row))
        texts += [base.tokenizer.decode(answers[i], skip_special_tokens=True) for i in sorted(answers)]
    return texts
