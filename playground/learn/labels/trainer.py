"""Train a policy on labels: split, fit, and compare before and after on labels that were held out.

A policy with parameters is fitted by gradient (`fitting.py`). A policy that remembers prompts stores the labels. The
fit never sees the held-out part. This module knows nothing of versions or of a database. Source: DPO, arXiv:2305.18290.
"""

import copy
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from playground.core.values import Context, Pool
from playground.errors import InvalidRequest
from playground.learn.labels import dataset
from playground.learn.labels.dataset import Probes, Split
from playground.learn.labels.fitting import (
    Begun,
    FitProgress,
    anchors,
    batch,
    fit,
    largest_share,
    scale_step,
    trainable,
)
from playground.learn.labels.metrics import LESS_IS_BETTER, BeforeAfter, agreement, compare, log_loss
from playground.learn.labels.objective import LabelObjective
from playground.routers.base import LabelSet, Policy, Router

FLOOR = 1e-12  # smaller weights count as this when their logarithm is taken
SHOWN_CHANGES = 20
LEAST_GROUPS = 5  # with fewer distinct prompts, nothing can be held out


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a policy learns from, and what it is measured on. `descriptors` (E, d) embed the cards of the pool.

    `anchors` (K, d) embed prompts whose routing is right as it is: the examples that the shipped routers were fitted
    on. `probes` are prompts that show what changed.
    """

    labels: LabelSet
    pool: Pool
    descriptors: np.ndarray
    probes: Probes
    anchors: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class RoutingChange:
    """A prompt, and the weights (E,) over `experts` before and after. `moved` is their total variation, in 0..1."""

    prompt: str
    experts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    moved: float


@dataclass(frozen=True, eq=False)
class Taught:
    """The result of a training: the new policy, and what it does differently.

    `metrics` maps label_accuracy, ranking_accuracy and log_loss to before, after and gain on the held-out labels. `kl`
    is the mean change over the probes, in nats. `beta` is the strength after that change was capped. Of the `probes`,
    `moved` have another heaviest expert.
    """

    policy: Policy
    metrics: dict[str, BeforeAfter]
    changed: tuple[RoutingChange, ...]
    moved: int
    probes: int
    kl: float
    beta: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabelTraining:
    """One training on labels: the labels from which the policy can learn, and the part that each is in.

    Only `_finish` looks at the held-out part. `begun` is where an earlier training on the same labels stopped.
    """

    parent: Policy
    lesson: Lesson
    kept: LabelSet
    group_names: Sequence[str]
    split: Split
    begun: Begun | None = None

    @property
    def labels_hash(self) -> str:
        """Return the hash of the labels that are used."""
        return dataset.label_set_hash(self.kept.pairs)

    @property
    def test(self) -> LabelSet:
        """Return the held-out labels."""
        return dataset.take(self.kept, self.split.test)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many labels were given, were left out, and are in each part."""
        parts = {"train": len(self.split.train), "valid": len(self.split.valid), "test": len(self.split.test)}
        return {"given": len(self.lesson.labels), "left out": len(self.lesson.labels) - len(self.kept), **parts}

    @property
    def parts(self) -> list[str]:
        """Return 'train', 'valid' or 'test' for each of the labels that are used."""
        places = (("train", self.split.train), ("valid", self.split.valid), ("test", self.split.test))
        part = {int(row): name for name, rows in places for row in rows}
        return [part[row] for row in range(len(self.kept))]


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fitted policy, and the factor from its change of log weights to log odds."""

    policy: Policy
    beta: float
    warnings: tuple[str, ...] = ()


def require_teachable(kind: type[Router]) -> None:
    """Raise InvalidRequest, with a remedy, for a router that does not learn from labels."""
    if kind.learns_from_labels:
        return
    title, name = kind.spec.title, kind.spec.name
    if kind.spec.level == "gate":
        remedy = f"Train it on the experts' data: python -m playground routers fit {name}"
    else:
        remedy = "Choose one that does, such as linear or knn."
    raise InvalidRequest(f"The router {title!r} does not learn from labels.", remedy)


def begin_training(parent: Router, lesson: Lesson) -> LabelTraining:
    """Return the training of `parent` on the labels from which it can learn, split by prompt.

    Raise InvalidRequest when the router does not learn from labels, or when the labels are on too few prompts.
    """
    require_teachable(type(parent))
    if not isinstance(parent, Policy):
        raise TypeError(f"{parent.spec.name} learns from labels but is no policy")
    kept = dataset.take(lesson.labels, dataset.informative(lesson.labels, _experts(parent, lesson)))
    group_names = dataset.group_labels(kept)
    distinct = len(set(group_names))
    if distinct < LEAST_GROUPS:
        raise InvalidRequest(
            f"There are too few labels to learn from (usable: {len(kept)}, different prompts: {distinct}).",
            f"Vote on at least {LEAST_GROUPS} different prompts, better on 30.",
        )
    return LabelTraining(parent, lesson, kept, group_names, dataset.split_by_prompt(group_names))


def train(training: LabelTraining, objective: LabelObjective) -> Iterator[FitProgress | Taught]:
    """Fit a copy of the parent to the labels. Yield progress, and at last the new policy with its figures."""
    fitted = yield from _fit(training, objective)
    yield _finish(training, fitted)


def _experts(policy: Policy, lesson: Lesson) -> tuple[str, ...]:
    """Return the experts about which the policy can learn: its own, or those of the pool when it stores labels."""
    return policy.experts if policy.parameters() else lesson.pool.names


def _fit(training: LabelTraining, objective: LabelObjective) -> Generator[FitProgress, None, _Fitted]:
    """Yield progress of the fit on the train part, measured on the validation part. Return the fitted policy."""
    train_part = dataset.take(training.kept, training.split.train)
    valid = dataset.take(training.kept, training.split.valid)
    if training.parent.parameters():
        return (yield from _by_gradient(training, objective, train_part, valid))
    learned = training.parent.absorb(dataset.join(train_part, valid))
    if learned is None:
        raise TypeError(f"{training.parent.spec.name} learns from labels but neither by gradient nor by absorbing them")
    yield FitProgress(step=1, steps=1, train_loss=np.nan, valid_loss=np.nan, valid_accuracy=np.nan)
    return _Fitted(policy=learned, beta=_scale_on(training, learned, valid if len(valid) else train_part))


def _by_gradient(
    training: LabelTraining, objective: LabelObjective, train_part: LabelSet, valid: LabelSet
) -> Generator[FitProgress, None, _Fitted]:
    """Fit a copy of the parent. Anchors keep it as it is far from the labels. The cap is measured on the probes."""
    parent, lesson = training.parent, training.lesson
    policy = copy.deepcopy(parent)
    start = [parameter.detach().clone() for parameter in trainable(parent)]
    held = None if lesson.anchors is None else anchors(lesson.anchors, _prompts(train_part), parent)
    yield from fit(policy, objective, batch(train_part, parent), batch(valid, parent), held, begun=training.begun)
    scale_step(policy, start, objective.step)
    met = lesson.probes.embeddings if len(lesson.probes) else _prompts(train_part)
    share = largest_share(policy, parent, met, cap=objective.options.cap)
    scale_step(policy, start, share)
    held_back = f"The change was held to {objective.options.cap:g} nats, {share:.0%} of what the labels asked for."
    beta = objective.odds_scale / max(share, 1e-6)
    return _Fitted(policy=policy, beta=beta, warnings=(held_back,) if share < 1.0 else ())


def _finish(training: LabelTraining, fitted: _Fitted) -> Taught:
    """Return the fitted policy with its figures on the held-out labels and the probes."""
    metrics, warnings = _held_out(training, fitted)
    changed = _changes(training, fitted.policy)
    return Taught(
        policy=fitted.policy,
        metrics=metrics,
        changed=tuple(sorted(changed, key=lambda change: -change.moved)[:SHOWN_CHANGES]),
        moved=sum(int(change.before.argmax() != change.after.argmax()) for change in changed),
        probes=len(changed),
        kl=float(np.mean([_kl(change.after, change.before) for change in changed])) if changed else 0.0,
        beta=fitted.beta,
        warnings=(*fitted.warnings, *warnings),
    )


def _prompts(labels: LabelSet) -> np.ndarray:
    """Return the embeddings (M, d) of the different prompts of the labels."""
    return np.asarray(labels.vectors[np.unique(labels.rows)])


def _held_out(training: LabelTraining, fitted: _Fitted) -> tuple[dict[str, BeforeAfter], tuple[str, ...]]:
    """Return label accuracy, ranking accuracy and log loss on the held-out labels, before and after, and warnings."""
    test, lesson = training.test, training.lesson
    names = [training.group_names[i] for i in training.split.test]
    experts = _experts(training.parent, lesson)
    difference = test.usage_difference(experts)
    first, where = dataset.distinct(test)
    prompts, vectors = [test.pairs[i].prompt for i in first], _prompts(test)
    before = log_weights(training.parent, prompts, vectors, lesson)[where]
    after = log_weights(fitted.policy, prompts, vectors, lesson)[where]
    target, weight = test.targets.astype(float), dataset.balanced_weights(test.weights)
    margin = fitted.beta * (difference * (after - before)).sum(axis=1)
    nothing = np.zeros_like(margin)  # the parent does not differ from itself, so it says one half
    pairs = {
        "label_accuracy": (agreement(nothing, target), agreement(margin, target)),
        "ranking_accuracy": tuple(agreement((difference * w).sum(axis=1), target) for w in (before, after)),
        "log_loss": (log_loss(nothing, target), log_loss(margin, target)),
    }
    metrics = {
        name: compare(old, new, weight, names, is_loss=name in LESS_IS_BETTER) for name, (old, new) in pairs.items()
    }
    return metrics, _warnings(difference, after - before, target, len(set(names)))


def _warnings(difference: np.ndarray, log_ratio: np.ndarray, target: np.ndarray, prompts: int) -> tuple[str, ...]:
    found = []
    if prompts < 30:
        found.append(f"Only {prompts} prompts were held out: the intervals are wide. About 30 give a usable figure.")
    towards = np.where(target[:, None] > 0.5, difference, -difference)[target != 0.5]
    if len(towards):
        chosen = (np.clip(towards, 0, None) * log_ratio[target != 0.5]).sum(axis=1).mean()
        if chosen < 0:
            found.append("Other experts gained more than the ones you voted for.")
    return tuple(found)


def log_weights(policy: Policy, prompts: Sequence[str], embeddings: np.ndarray, lesson: Lesson) -> np.ndarray:
    """Return (N, E) log weights over `policy.experts`, or over the pool for a policy without a log policy."""
    x = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
    with torch.no_grad():
        found = policy.log_policy(x)
    if found is not None:
        return np.asarray(found.numpy(), float)
    return np.asarray(np.log(np.maximum(served_weights(policy, prompts, embeddings, lesson), FLOOR)), float)


def served_weights(policy: Policy, prompts: Sequence[str], embeddings: np.ndarray, lesson: Lesson) -> np.ndarray:
    """Return (N, E) float32 weights over the pool, as `decide` gives them to a run, prompt by prompt."""
    weights = np.zeros((len(prompts), len(lesson.pool)), np.float32)
    for row, (prompt, vector) in enumerate(zip(prompts, embeddings, strict=True)):
        context = Context(prompt=prompt, pool=lesson.pool, embedding=vector, descriptors=lesson.descriptors)
        weights[row] = policy.decide(context).weights
    return weights


def _changes(training: LabelTraining, policy: Policy) -> list[RoutingChange]:
    """Return the weights of the parent and of the new policy on every probe, in the probes' order."""
    lesson = training.lesson
    prompts, vectors = lesson.probes.prompts, lesson.probes.embeddings
    before = served_weights(training.parent, prompts, vectors, lesson)
    after = served_weights(policy, prompts, vectors, lesson)
    moved = 0.5 * np.abs(after - before).sum(axis=1)
    return [
        RoutingChange(prompt, lesson.pool.names, old, new, float(far))
        for prompt, old, new, far in zip(prompts, before, after, moved, strict=True)
    ]


def _scale_on(training: LabelTraining, policy: Policy, rows_to_fit: LabelSet) -> float:
    """Return the factor by which the change of log weights predicts the labels of `rows_to_fit` best.

    A policy that is not fitted by gradient has no beta, so this stands for it.
    """
    prompts = [pair.prompt for pair in rows_to_fit.pairs]
    old = log_weights(training.parent, prompts, rows_to_fit.embeddings, training.lesson)
    new = log_weights(policy, prompts, rows_to_fit.embeddings, training.lesson)
    change = (rows_to_fit.usage_difference(_experts(training.parent, training.lesson)) * (new - old)).sum(axis=1)
    grid = np.geomspace(0.01, 10.0, 61)
    losses = [log_loss(beta * change, rows_to_fit.targets.astype(float)).mean() for beta in grid]
    return float(grid[int(np.argmin(losses))])


def _kl(new: np.ndarray, old: np.ndarray) -> float:
    """Return KL(new || old) in nats. A weight of 0 counts as 1e-12, so that the figure is finite."""
    p, q = (np.maximum(weights.astype(float), FLOOR) for weights in (new, old))
    return float((p * np.log(p / q)).sum())
