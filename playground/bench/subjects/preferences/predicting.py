"""Predict votes with the project's own fit: scores of models, prompts, and what sways votes, under any objective."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from playground.bench.subjects.preferences.votes import VoteSet
from playground.learn.labels.fitting import Fitting, LabelBatch
from playground.learn.labels.metrics import log_loss
from playground.learn.labels.nuisance import GROUPS, differences, scaled
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.routers.prompt.linear import LinearProbe

SCALES = np.geomspace(0.2, 5.0, 41)


@dataclass(frozen=True)
class Form:
    """What predicts a vote: groups of nuisance columns, the ridge, an objective, and the share of the prompt in x."""

    groups: tuple[str, ...] = ()
    ridge: float = 5.0
    objective: str = "dpo"
    prompts: float = 0.0

    def __str__(self) -> str:
        named = "+".join(("models", *self.groups, *(("prompts",) if self.prompts else ())))
        return f"{self.objective} on {named}, ridge {self.ridge:g}"


@dataclass(frozen=True, eq=False)
class Columns:
    """The numbers of a set of votes, computed once: who wrote what, nuisance by group, and embeddings of prompts."""

    votes: VoteSet
    difference: np.ndarray
    nuisance: dict[str, np.ndarray]
    embeddings: np.ndarray | None = None

    @classmethod
    def of(cls, votes: VoteSet, embeddings: np.ndarray | None = None) -> "Columns":
        """Return the columns of `votes`."""
        found = {group: differences(votes.pairs, [group]) for group in GROUPS}
        return cls(votes, votes.difference, found, embeddings)

    def batch(self, rows: np.ndarray, form: Form, like: "tuple[Columns, np.ndarray] | None" = None) -> LabelBatch:
        """Return the rows for a fit. Nuisance is scaled as in the rows `like` of other columns, or as here."""
        whole, own = like or (self, rows)
        wanted = [self.nuisance[group][rows] for group in form.groups]
        train = [whole.nuisance[group][own] for group in form.groups]
        nuisance = [scaled(a, b)[1] for a, b in zip(train, wanted, strict=True)]
        x = np.full((len(rows), 1), float(self.votes.named), np.float32)
        if form.prompts and self.embeddings is not None:
            x = np.hstack([x, form.prompts * self.embeddings[rows]])
        experts = self.difference.shape[1]
        return LabelBatch(
            vectors=torch.from_numpy(x),
            difference=torch.from_numpy(self.difference[rows]),
            target=torch.from_numpy(self.votes.target[rows].astype(np.float32)),
            weight=torch.ones(len(rows)),
            reference=torch.full((len(rows), experts), -float(np.log(experts))),
            group=torch.from_numpy(self.votes.prompt[rows]),
            nuisance=torch.from_numpy(np.hstack(nuisance)) if nuisance else None,
        )


def merged(columns: Columns, rows: np.ndarray, form: Form) -> LabelBatch:
    """Return one label for each two answers that were compared: the mean target, and the votes for a weight."""
    keys = [(pair.prompt, pair.model_a, pair.model_b, pair.answer_a, pair.answer_b) for pair in columns.votes.pairs]
    place = {key: i for i, key in enumerate(dict.fromkeys(keys[row] for row in rows))}
    where = np.array([place[keys[row]] for row in rows])
    first = rows[np.unique(where, return_index=True)[1]]
    count = np.bincount(where).astype(np.float32)
    target = np.bincount(where, weights=columns.votes.target[rows]).astype(np.float32) / count
    batch = columns.batch(first, form, (columns, rows))
    return replace(batch, target=torch.from_numpy(target), weight=torch.from_numpy(count))


def predicted(train: Columns, rows: np.ndarray, test: Columns, wanted: np.ndarray, form: Form) -> np.ndarray:
    """Return the log odds (M,) that A is better, for the rows `wanted` of `test`, learned from `rows` of `train`."""
    batch = merged(train, rows, form)
    kind = LABEL_OBJECTIVES.get(form.objective)
    few = {"members": 3} if "members" in kind.Options.model_fields else {}
    objective = kind(kind.Options(beta=1.0, ridge=form.ridge, **few))
    experts, width = batch.difference.shape[1], batch.x.shape[1]
    policy = LinearProbe([str(i) for i in range(experts)], torch.zeros(experts, width), torch.zeros(experts))
    fitting = Fitting(policy, batch, batch.take(slice(0, 0)))
    for _ in objective.learn(fitting):
        pass
    return np.asarray(fitting.margins(objective, test.batch(wanted, form, (train, rows))).numpy(), float)


def out_of_fold(columns: Columns, rows: np.ndarray, fold: np.ndarray, form: Form) -> np.ndarray:
    """Return the log odds (len(rows),) that a form predicts for `rows`, each fold learned from the other folds."""
    found = np.zeros(len(rows))
    for part in np.unique(fold):
        out = fold == part
        found[out] = predicted(columns, rows[~out], columns, rows[out], form)
    return found


def best_scale(margin: np.ndarray, target: np.ndarray) -> float:
    """Return the factor by which `margin` predicts `target` best. A factor changes no order."""
    losses = [log_loss(scale * margin, target).mean() for scale in SCALES]
    return float(SCALES[int(np.argmin(losses))])


def ranked(columns: Columns, rows: np.ndarray, fold: np.ndarray, forms: Sequence[Form]) -> list[tuple[Form, float]]:
    """Return the forms with their scales, by log loss over the folds of `rows`, lowest first. It reads no other row."""
    target, found = columns.votes.target[rows], []
    for form in forms:
        margin = out_of_fold(columns, rows, fold, form)
        scale = best_scale(margin, target)
        found.append((float(log_loss(scale * margin, target).mean()), form, scale))
    return [(form, scale) for _, form, scale in sorted(found, key=lambda one: one[0])]
