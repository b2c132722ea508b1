"""Measure how well votes on unseen prompts are predicted: Bradley-Terry, peers, and the project's own learning.

Everything that is chosen is chosen by folds of the training rows. The rows that are predicted are read once, at last.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from playground.bench.base import Tell
from playground.bench.subjects.preferences import peers
from playground.bench.subjects.preferences.predicting import Columns, Form, best_scale, choose, out_of_fold, predicted
from playground.bench.subjects.preferences.votes import Votes, folds, overlap, read_votes
from playground.learn.labels.metrics import agreement, compare, log_loss
from playground.learn.labels.objective import LABEL_OBJECTIVES

Encode = Callable[[Sequence[str]], np.ndarray]
INNER = 4
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
) -> tuple[dict[str, np.ndarray], Form]:
    """Return the log odds (M,) of each method for the rows `wanted`, and the form that was chosen.

    `ours` is the form and the objective with the lowest log loss over folds of `rows`. With `every`, each objective is
    a method too, on that form.
    """
    fold = folds(train.votes.prompt[rows], seed + 1, INNER)
    ask = (train, rows, test, wanted)
    plain = {BASE: PLAIN, "length": LENGTH, "length and layout": LAYOUT}
    found = {name: predicted(*ask, form) for name, form in plain.items()}
    form, scale = choose(train, rows, fold, forms(train))
    best, target = np.inf, train.votes.target[rows]
    chosen = form
    for name in LABEL_OBJECTIVES if every else (form.objective,):
        tried = Form(form.groups, form.ridge, name, form.prompts)
        seen = out_of_fold(train, rows, fold, tried)
        scale = best_scale(seen, target)
        found[f"objective {name}"] = scale * predicted(*ask, tried)
        loss = float(log_loss(scale * seen, target).mean())
        if loss < best:
            best, chosen = loss, tried
    found["ours"] = found[f"objective {chosen.objective}"]
    for name, peer in {**PEERS, **(PROMPT_PEERS if train.embeddings is not None else {})}.items():
        found[name] = peer(*ask)
    return found, chosen


def columns_of(votes: Votes, encode: Encode) -> Columns:
    """Return the columns of a set. Prompts are embedded when the set says which model wrote what."""
    if not votes.named:
        return Columns.of(votes)
    prompts = list(dict.fromkeys(pair.prompt for pair in votes.pairs))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    return Columns.of(votes, encode(prompts)[[place[pair.prompt] for pair in votes.pairs]])


def cross_validated(votes: Votes, encode: Encode, *, seeds: int, every: bool, tell: Tell) -> dict[str, Any]:
    """Return the figures of a set by folds of prompts: each row is predicted from other prompts, once for each seed."""
    columns = columns_of(votes, encode)
    margins: list[dict[str, np.ndarray]] = []
    chosen: list[str] = []
    for seed in range(seeds):
        fold, found = folds(votes.prompt, seed), {}
        for part in np.unique(fold):
            tell(f"{votes.name}: seed {seed + 1} of {seeds}, part {part + 1} of {fold.max() + 1}")
            rows, wanted = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            odds, form = predictions(columns, rows, columns, wanted, seed, every=every)
            chosen.append(str(form))
            for name, values in odds.items():
                found.setdefault(name, np.zeros(len(votes)))[wanted] = values
        margins.append(found)
    return {**_facts(votes), "chosen": sorted(set(chosen)), "methods": table(margins, votes.target, votes.prompt)}


def held_back(train: Votes, path: Path, encode: Encode, *, every: bool) -> dict[str, Any]:
    """Return the figures on the votes of another file, learned from all of `train`.

    Rows whose prompt is in `train` are counted and left out.
    """
    test = read_votes(path, train.models)
    both = Votes(train.name, train.pairs, train.target, train.prompt, train.voter, test.models, train.named)
    known = overlap(train, test)
    wanted = np.flatnonzero(~known)
    if not len(wanted):
        return {"rows": len(test), "prompts also in training": int(known.sum()), "methods": {}}
    learned, asked = columns_of(both, encode), columns_of(test, encode)
    odds, form = predictions(learned, np.arange(len(train)), asked, wanted, 0, every=every)
    return {
        **_facts(test),
        "rows with a prompt of training, left out": int(known.sum()),
        "chosen": [str(form)],
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


def _facts(votes: Votes) -> dict[str, Any]:
    return {
        "rows": len(votes),
        "decisive": int((votes.target != 0.5).sum()),
        "prompts": len(np.unique(votes.prompt)),
        "models": len(votes.models) if votes.named else 0,
        "voters": len(np.unique(votes.voter)),
    }
