"""Measure how well votes on unseen prompts are predicted: Bradley-Terry, peers, and the project's own learning.

Everything that is chosen is chosen by folds of the training rows. The rows that are predicted are read once, at last.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from playground.bench.base import Tell
from playground.bench.subjects.preferences import peers
from playground.bench.subjects.preferences.predicting import Columns, Form, predicted, ranked
from playground.bench.subjects.preferences.votes import VoteSet, folds, overlap, read_votes
from playground.learn.labels.metrics import agreement, compare, log_loss
from playground.learn.labels.objective import LABEL_OBJECTIVES

Encode = Callable[[Sequence[str]], np.ndarray]
INNER = 4
AVERAGED = 8  # forms of which the mean is taken
BASE = "bradley-terry"
PLAIN = Form(ridge=1.0)
LENGTH = Form(("length",), ridge=1.0)
LAYOUT = Form(("length", "layout"), ridge=1.0)
GROUPS: tuple[tuple[str, ...], ...] = (
    (),
    ("length",),
    ("length", "layout"),
    ("length", "wording"),
    ("length", "layout", "wording"),
    ("agreement",),
    ("length", "agreement"),
    ("length", "layout", "wording", "agreement"),
)
PEERS = {"arena style control": peers.style_control}
PROMPT_PEERS = {
    "routellm similarity": peers.similarity_weighted,
    "routellm factorisation": peers.matrix_factorisation,
}


def forms(columns: Columns) -> list[Form]:
    """Return the forms from which one is chosen. Without names of models there is nothing to route."""
    plain = [Form(groups, ridge) for groups in GROUPS for ridge in (5.0, 30.0)]
    if columns.embeddings is None:
        return plain
    return plain + [Form(groups, 30.0, prompts=1.0) for groups in GROUPS]


def predictions(
    train: Columns, rows: np.ndarray, test: Columns, wanted: np.ndarray, seed: int, *, every: bool
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the log odds (M,) of each method for the rows `wanted`, and what was chosen by folds of `rows`.

    `ours` is the mean over the AVERAGED best forms. With `every`, each objective is a method too, on the best form that
    does not look at the prompt, and `the chosen objective` is the one with the lowest log loss there.
    """
    fold = folds(train.votes.prompt[rows], seed + 1, INNER)
    ask = (train, rows, test, wanted)
    plain = {BASE: PLAIN, "length": LENGTH, "length and layout": LAYOUT}
    found = {name: predicted(*ask, form) for name, form in plain.items()}
    best = ranked(train, rows, fold, forms(train))
    found["ours"] = np.mean([scale * predicted(*ask, form) for form, scale in best[:AVERAGED]], axis=0)
    chosen = [f"first of those averaged: {best[0][0]}"]
    if every:
        form = next(form for form, _ in best if not form.prompts)
        tried = ranked(train, rows, fold, [replace(form, objective=name) for name in LABEL_OBJECTIVES])
        for each, scale in tried:
            found[f"objective {each.objective}"] = scale * predicted(*ask, each)
        found["the chosen objective"] = found[f"objective {tried[0][0].objective}"]
        chosen.append(f"objective: {tried[0][0]}")
    for name, peer in {**PEERS, **(PROMPT_PEERS if train.embeddings is not None else {})}.items():
        found[name] = peer(*ask)
    return found, chosen


def columns_of(votes: VoteSet, encode: Encode) -> Columns:
    """Return the columns of a set. Prompts are embedded when the set says which model wrote what."""
    if not votes.named:
        return Columns.of(votes)
    prompts = list(dict.fromkeys(pair.prompt for pair in votes.pairs))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    return Columns.of(votes, encode(prompts)[[place[pair.prompt] for pair in votes.pairs]])


def cross_validated(votes: VoteSet, encode: Encode, *, seeds: int, every: bool, tell: Tell) -> dict[str, Any]:
    """Return the figures of a set by folds of prompts: each row is predicted from other prompts, once for each seed."""
    columns = columns_of(votes, encode)
    margins: list[dict[str, np.ndarray]] = []
    chosen: list[str] = []
    for seed in range(seeds):
        fold = folds(votes.prompt, seed)
        found: dict[str, np.ndarray] = {}
        for part in np.unique(fold):
            tell(f"{votes.name}: seed {seed + 1} of {seeds}, part {part + 1} of {fold.max() + 1}")
            rows, wanted = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            odds, said = predictions(columns, rows, columns, wanted, seed, every=every)
            chosen += said
            for name, values in odds.items():
                found.setdefault(name, np.zeros(len(votes)))[wanted] = values
        margins.append(found)
    return {**_facts(votes), "chosen": sorted(set(chosen)), "methods": table(margins, votes.target, votes.prompt)}


def held_back(train: VoteSet, path: Path, encode: Encode, *, every: bool) -> dict[str, Any]:
    """Return the figures on the votes of another file, learned from all of `train`.

    Rows whose prompt is in `train` are counted and left out.
    """
    test = read_votes(path, train.models)
    both = VoteSet(train.name, train.pairs, train.target, train.prompt, train.voter, test.models, train.named)
    known = overlap(train, test)
    wanted = np.flatnonzero(~known)
    if not len(wanted):
        return {"rows": len(test), "prompts also in training": int(known.sum()), "methods": {}}
    learned, asked = columns_of(both, encode), columns_of(test, encode)
    odds, said = predictions(learned, np.arange(len(train)), asked, wanted, 0, every=every)
    return {
        **_facts(test),
        "rows with a prompt of training, left out": int(known.sum()),
        "chosen": said,
        "methods": table([odds], test.target[wanted], test.prompt[wanted]),
    }


def table(margins: Sequence[dict[str, np.ndarray]], target: np.ndarray, prompt: np.ndarray) -> dict[str, Any]:
    """Return accuracy and log loss by method, with the gain over Bradley-Terry and its interval over prompts.

    Accuracy leaves ties out. Rows are averaged over the seeds' `margins` first.
    """
    names, weight = [str(one) for one in prompt], np.ones(len(target))
    right, loss = (
        {name: np.mean([value(one[name], target) for one in margins], axis=0) for name in margins[0]}
        for value in (agreement, log_loss)
    )
    found = {}
    for name in margins[0]:
        accuracy = compare(right[BASE], right[name], weight, names)
        losses = compare(loss[BASE], loss[name], weight, names, is_loss=True)
        found[name] = {
            "accuracy": round(accuracy.after.value, 4),
            "accuracy interval": [round(accuracy.after.low, 4), round(accuracy.after.high, 4)],
            "accuracy gain": [round(v, 4) for v in (accuracy.gain.value, accuracy.gain.low, accuracy.gain.high)],
            "log loss": round(losses.after.value, 4),
            "log loss gain": [round(v, 4) for v in (losses.gain.value, losses.gain.low, losses.gain.high)],
        }
    return found


def _facts(votes: VoteSet) -> dict[str, Any]:
    return {
        "rows": len(votes),
        "decisive": int((votes.target != 0.5).sum()),
        "prompts": len(np.unique(votes.prompt)),
        "models": len(votes.models) if votes.named else 0,
        "voters": len(np.unique(votes.voter)),
    }
