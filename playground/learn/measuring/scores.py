"""Turn answers into figures: how a task's row is asked, how an answer scores, and the intervals of sets.

This module reads no models and no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from playground.core.statistics import matthews_gain, mean_interval, paired_interval
from playground.learn.experts.card import ANSWER_TOKENS, summarise
from playground.learn.measuring.measurer import Question
from playground.learn.measuring.systems import BASE, ORACLE
from playground.learn.rows import DataRow
from playground.learn.tasks import Task, refuses
from playground.model.base import LanguageModel

EXACT_TOKENS = 192


@dataclass(frozen=True)
class Scored:
    """One system's score on each row of a set. For choice sets also the loss of the right choice, in nats per token."""

    scores: list[float]
    losses: list[float] | None = None


def question(base: LanguageModel, task: Task, row: DataRow) -> Question:
    """Return the question that the task's metric needs: answers to weigh, or for refusals a greedy answer."""
    if task.metric == "refusal":
        return drawn_question(base, task, row, tokens=ANSWER_TOKENS)
    text, end = task.prompt(row), base.tokenizer.eos_token_id
    if task.choices is None and task.answer is None:
        raise ValueError(f"{task.name} has no answers to take the loss of")
    answers = task.choices(row) if task.choices else [task.answer(row)] if task.answer else []
    prompt = base.chat_ids(text, task.opening(row))
    return Question(text, tuple(prompt), tuple((*base.answer_ids(answer), end) for answer in answers))


def drawn_question(base: LanguageModel, task: Task, row: DataRow, *, tokens: int = EXACT_TOKENS) -> Question:
    """Return the question that asks for a greedy answer."""
    text = task.prompt(row)
    return Question(text, tuple(base.chat_ids(text, task.opening(row))), tokens=tokens, stop=task.stop)


def scored(task: Task, rows: Sequence[DataRow], values: Sequence[Any]) -> Scored:
    """Return the scores of a system's answers to `rows`.

    A choice scores 1 or 0: the likeliest per token, over the tokens in which choices differ. A refusal scores 1 or 0.
    A loss scores the mean negative log-likelihood per answer token, in nats. Of several right choices, the loss is that
    of the likeliest.
    """
    if task.metric == "refusal":
        wanted = [row["answer"] == "refuse" for row in rows]
        return Scored([float(refuses(text) == want) for text, want in zip(values, wanted, strict=True)])
    if task.choices is None or task.correct is None:
        return Scored([-means[0] for means in values])
    hits, losses = [], []
    for means, row in zip(values, rows, strict=True):
        right = [index for index in range(len(means)) if task.correct(row, index)]
        hits.append(float(int(np.argmax(means)) in right))
        losses.append(-max((means[index] for index in right), default=float("nan")))
    return Scored(hits, losses)


def summary(task: Task, rows: Sequence[DataRow], found: Mapping[str, Scored]) -> dict[str, Any]:
    """Return a set's part of the result: score, interval and paired gain over the base. A positive gain is better."""
    systems = {}
    for name, one in found.items():
        shown: dict[str, Any] = rounded("score", summarise(task, rows, one.scores))
        if one.losses is not None:
            shown["loss"] = round(float(np.nanmean(one.losses)), 4)
        if name != BASE:
            shown["gain"] = rounded("mean", _gain(task, rows, one.scores, found[BASE].scores))
        systems[name] = shown
    return {"metric": task.metric, "n": len(rows), "expert": task.owner, "systems": systems}


def shares(task: Task, rows: Sequence[DataRow], texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return by system the share of greedy answers to the first of `rows` that are exactly right."""
    if task.exact is None:
        return {}
    found = {}
    for name, made in texts.items():
        hits = [float(task.exact(text, row)) for text, row in zip(made, rows[: len(made)], strict=True)]
        found[name] = {**rounded("score", mean_interval(hits)), "n": len(hits)}
    return found


def averages(sets: Mapping[str, Any]) -> dict[str, Any]:
    """Return each system's average over sets and its share of the oracle. A loss counts as exp(-loss)."""
    totals: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    for values in sets.values():
        as_loss = values["metric"] == "loss"
        worth = {
            name: float(np.exp(-shown["score"])) if as_loss else shown["score"]
            for name, shown in values["systems"].items()
        }
        for name, value in worth.items():
            totals.setdefault(name, []).append(value)
            if ORACLE in worth:
                beside.setdefault(name, []).append(value)
    best = sum(beside.get(ORACLE, []))
    return {
        "average": {name: round(sum(own) / len(own), 4) for name, own in totals.items() if len(own) == len(sets)},
        "share_of_oracle": {name: round(sum(values) / best, 4) for name, values in beside.items()} if best > 0 else {},
        "average_is": "the mean over sets, where a loss counts as exp(-loss)",
    }


def rounded(name: str, interval: tuple[float, float, float]) -> dict[str, Any]:
    """Return {name, low, high} to four places."""
    return dict(zip((name, "low", "high"), (round(value, 4) for value in interval), strict=True))


def _gain(
    task: Task, rows: Sequence[DataRow], ours: Sequence[float], base: Sequence[float]
) -> tuple[float, float, float]:
    if task.metric == "matthews":
        truth = [row["answer"] == "acceptable" for row in rows]
        guesses = [[t == bool(s) for t, s in zip(truth, scores, strict=True)] for scores in (ours, base)]
        return matthews_gain(truth, *guesses)
    sign = -1.0 if task.metric == "loss" else 1.0
    return paired_interval((sign * (np.asarray(ours) - np.asarray(base))).tolist())
