"""Fine-tuning a router on labels: split, fit, compare on held-out labels, keep the result as a draft version.

Two ways behind one face: a policy with parameters is fitted by gradient (`fitting.py`), one that remembers takes the
labels in. The fit never sees the held-out part. Promoting is separate. Source: DPO, arXiv:2305.18290; evaluation rules
of the preferences specification.
"""

import copy
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from playground.core.values import Context, Pool
from playground.errors import InvalidRequest
from playground.learn.labels import dataset
from playground.learn.labels.dataset import Probes, Split
from playground.learn.labels.fitting import (
    GUARD,
    FitProgress,
    anchors,
    batch,
    fit,
    largest_share,
    scale_step,
    trainable,
)
from playground.learn.labels.metrics import BeforeAfter, agreement, as_metrics, compare, log_loss
from playground.learn.labels.objectives import OBJECTIVES, Objective
from playground.routers.base import LabelSet, Policy
from playground.serving.versions import Versions
from playground.store import versions as rows
from playground.store.tables import TrainingRunRow

FLOOR = 1e-12  # weights are not read as smaller than this when their logarithm is taken
SHOWN_CHANGES = 20
LEAST_GROUPS = 5  # distinct prompts below which nothing can be held out

__all__ = ["FineTuned", "FitProgress", "Parts", "RoutingChange", "fine_tune"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a fine-tune needs of the running program. `descriptors` (E, d) embed the cards of the pool.

    `anchors` (K, d) embed prompts whose routing is right as it is: the examples that the shipped routers were fitted
    on.
    """

    versions: Versions
    pool: Pool
    descriptors: np.ndarray
    anchors: np.ndarray | None = None
    encoder: str = ""


@dataclass(frozen=True, eq=False)
class RoutingChange:
    """A prompt and the weights (E,) over `experts` that the parent and the new version give it; `moved` in 0..1."""

    prompt: str
    experts: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    moved: float


@dataclass(frozen=True, eq=False)
class FineTuned:
    """The end of a fine-tune: a draft version, and what it does differently.

    `metrics` maps label_accuracy, ranking_accuracy and log_loss to before, after and gain on the held-out labels. `kl`
    is the mean change in nats over the probes, `beta` the strength in force once that change was capped. `counts` says
    what became of every label. `moved` is how many of the `probes` have another heaviest expert.
    """

    version: str
    parent: str
    router: str
    metrics: dict[str, BeforeAfter]
    changed: tuple[RoutingChange, ...]
    moved: int
    probes: int
    kl: float
    beta: float
    counts: dict[str, int]
    warnings: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class _Job:
    """One fine-tune: what it learns from, and the held-out part that only `_finish` looks at."""

    parts: Parts
    given: LabelSet
    kept: LabelSet
    group_names: Sequence[str]
    split: Split
    probes: Probes
    parent: Policy
    parent_id: str
    objective: Objective
    note: str


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fitted policy and the strength that its change of log weights stands for."""

    policy: Policy
    beta: float
    warnings: tuple[str, ...] = ()


def fine_tune(
    parts: Parts,
    labels: LabelSet,
    probes: Probes,
    *,
    router: str,
    objective: str = "dpo",
    options: Mapping[str, Any] | None = None,
    note: str = "",
) -> Iterator[FitProgress | FineTuned]:
    """Fit `router`'s current version to `labels`; yields progress and, last, the new draft version.

    Closing the iterator cancels. Raises InvalidRequest when the router cannot learn, or when there are too few labels
    on too few prompts, or while another fine-tune of the router runs.
    """
    job = _job(parts, labels, probes, router=router, objective=_objective(objective, options or {}), note=note)
    run = _start(job)
    status, version = "failed", None
    try:
        fitted = yield from _fit(job)
        result = _finish(job, fitted, run)
        status, version = "done", result.version
        yield result
    except GeneratorExit:
        status = "done" if version else "cancelled"
        raise
    finally:
        with parts.versions.database.write() as session:
            rows.end_training(session, run, status=status, version=version)


def _objective(name: str, options: Mapping[str, Any]) -> Objective:
    chosen = OBJECTIVES.get(name)
    try:
        return chosen(chosen.Options(**options))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InvalidRequest(f"The setting {where!r} is not usable: {problem['msg']}.", "Change it.") from error


def _job(parts: Parts, labels: LabelSet, probes: Probes, *, router: str, objective: Objective, note: str) -> _Job:
    parent, parent_id = parts.versions.load(router)
    if not isinstance(parent, Policy):
        raise InvalidRequest(f"The router {router!r} decides inside the model.", "Fine-tune it as a gate.")
    kept = dataset.take(labels, dataset.informative(labels, _experts(parent, parts)))
    group_names = dataset.groups([pair.prompt for pair in kept.pairs], kept.embeddings)
    distinct = len(set(group_names))
    if distinct < LEAST_GROUPS:
        raise InvalidRequest(
            f"{len(kept)} usable labels on {distinct} different prompts are too few to learn from.",
            f"Compare answers on at least {LEAST_GROUPS} different prompts, better on 30.",
        )
    split = dataset.split_by_prompt(group_names)
    return _Job(parts, labels, kept, group_names, split, probes, parent, parent_id, objective, note)


def _experts(policy: Policy, parts: Parts) -> tuple[str, ...]:
    """The experts whose labels the policy can learn from: its own, or the pool's when it takes labels in as rows."""
    return policy.experts if policy.parameters() else parts.pool.names


def _start(job: _Job) -> str:
    """The id of the stored fine-tune, with every label's part in it."""
    row = TrainingRunRow(
        router=job.parent.spec.name,
        parent_version=job.parent_id,
        method=job.objective.spec.name,
        config=job.objective.options.model_dump(),
        label_set_hash=dataset.label_set_hash(job.kept.pairs),
        n_labels=len(job.kept),
        split_salt=dataset.SALT,
    )
    places = (("train", job.split.train), ("valid", job.split.valid), ("test", job.split.test))
    part = {int(row_number): name for name, numbers in places for row_number in numbers}
    with job.parts.versions.database.write() as session:
        run = rows.start_training(session, row)
        uses = [
            rows.LabelUse(label_id=pair.label_id, split=part[i], weight=pair.weight, target=pair.target)
            for i, pair in enumerate(job.kept.pairs)
        ]
        rows.add_training_labels(session, run, uses)
    return run


def _fit(job: _Job) -> Generator[FitProgress, None, _Fitted]:
    """Fit on the train part, watch the validation part; the held-out part stays out of reach."""
    train, valid = dataset.take(job.kept, job.split.train), dataset.take(job.kept, job.split.valid)
    if job.parent.parameters():
        return (yield from _by_gradient(job, train, valid))
    learned = job.parent.absorb(dataset.join(train, valid))
    if learned is None:
        raise InvalidRequest(
            f"The router {job.parent.spec.title!r} does not learn from labels.", "Choose another router."
        )
    yield FitProgress(step=1, steps=1, train_loss=np.nan, valid_loss=np.nan, valid_accuracy=np.nan)
    return _Fitted(policy=learned, beta=_scale_on(job, learned, valid if len(valid) else train))


def _by_gradient(job: _Job, train: LabelSet, valid: LabelSet) -> Generator[FitProgress, None, _Fitted]:
    """Fit a copy of the parent; anchors hold it in place far from the labels, probes stand for what it will meet."""
    parent, objective = job.parent, job.objective
    policy = copy.deepcopy(parent)
    start = [parameter.detach().clone() for parameter in trainable(parent)]
    held = None if job.parts.anchors is None else anchors(job.parts.anchors, train.embeddings, parent)
    yield from fit(policy, objective, batch(train, parent), batch(valid, parent), held)
    scale_step(policy, start, objective.step)
    met = job.probes.embeddings if len(job.probes) else train.embeddings
    share = largest_share(policy, parent, met, cap=objective.options.cap)
    scale_step(policy, start, share)
    held_back = f"The change was held to {objective.options.cap:g} nats, {share:.0%} of what the labels asked for."
    beta = objective.options.beta / max(share, 1e-6)
    return _Fitted(policy=policy, beta=beta, warnings=(held_back,) if share < 1.0 else ())


def _finish(job: _Job, fitted: _Fitted, run: str) -> FineTuned:
    """Measure on the held-out labels and the probes, and keep the policy as a draft version."""
    test = dataset.take(job.kept, job.split.test)
    metrics, warnings = _held_out(job, fitted, test)
    changed = _changes(job, fitted.policy)
    moved = sum(int(change.before.argmax() != change.after.argmax()) for change in changed)
    kl = float(np.mean([_kl(change.after, change.before) for change in changed])) if changed else 0.0
    summary = {"kl": kl, "moved": moved, "probes": len(changed), "beta_in_force": fitted.beta}
    version = job.parts.versions.create(
        fitted.policy,
        parent=job.parent_id,
        metrics={**as_metrics(metrics), **summary},
        labels_hash=dataset.label_set_hash(job.kept.pairs),
        note=job.note or f"{job.objective.spec.title} on {len(job.kept)} labels",
        config={"objective": job.objective.spec.name, "options": job.objective.options.model_dump()},
        encoder=job.parts.encoder,
        training_run=run,
    )
    with job.parts.versions.database.write() as session:
        rows.add_evaluation(
            session,
            version,
            against=job.parent_id,
            set_name="held-out labels",
            set_hash=dataset.label_set_hash(test.pairs),
            metrics=as_metrics(metrics),
        )
    return FineTuned(
        version=version,
        parent=job.parent_id,
        router=job.parent.spec.name,
        metrics=metrics,
        changed=tuple(sorted(changed, key=lambda change: -change.moved)[:SHOWN_CHANGES]),
        moved=moved,
        probes=len(changed),
        kl=kl,
        beta=fitted.beta,
        counts=_counts(job),
        warnings=(*fitted.warnings, *warnings),
    )


def _counts(job: _Job) -> dict[str, int]:
    parts = {"train": len(job.split.train), "valid": len(job.split.valid), "test": len(job.split.test)}
    return {"given": len(job.given), "left out": len(job.given) - len(job.kept), **parts}


def _held_out(job: _Job, fitted: _Fitted, test: LabelSet) -> tuple[dict[str, BeforeAfter], tuple[str, ...]]:
    """Label accuracy, ranking accuracy and log loss on the held-out labels, before and after."""
    names = [job.group_names[i] for i in job.split.test]
    experts = _experts(job.parent, job.parts)
    difference = test.usage_difference(experts)
    prompts = [pair.prompt for pair in test.pairs]
    before = log_weights(job.parent, prompts, test.embeddings, job.parts)
    after = log_weights(fitted.policy, prompts, test.embeddings, job.parts)
    target, weight = test.targets.astype(float), dataset.balanced_weights(test.weights)
    margin = fitted.beta * (difference * (after - before)).sum(axis=1)
    nothing = np.zeros_like(margin)  # the parent measured against itself: one half by construction
    pairs = {
        "label_accuracy": (agreement(nothing, target), agreement(margin, target)),
        "ranking_accuracy": tuple(agreement((difference * w).sum(axis=1), target) for w in (before, after)),
        "log_loss": (log_loss(nothing, target), log_loss(margin, target)),
    }
    metrics = {name: compare(old, new, weight, names) for name, (old, new) in pairs.items()}
    return metrics, _warnings(difference, after - before, target, len(set(names)))


def _warnings(difference: np.ndarray, log_ratio: np.ndarray, target: np.ndarray, prompts: int) -> tuple[str, ...]:
    found = []
    if prompts < 30:
        found.append(f"Only {prompts} prompts were held out: the intervals are wide. About 30 give a usable figure.")
    towards = np.where(target[:, None] > 0.5, difference, -difference)[target != 0.5]
    if len(towards):
        chosen = (np.clip(towards, 0, None) * log_ratio[target != 0.5]).sum(axis=1).mean()
        if chosen < 0:
            found.append("The winners' own weight fell: a third expert gained more than they did.")
    return tuple(found)


def log_weights(policy: Policy, prompts: Sequence[str], embeddings: np.ndarray, parts: Parts) -> np.ndarray:
    """(N, E) log weights over `policy.experts`, or over the pool for a policy without a log policy."""
    x = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
    with torch.no_grad():
        found = policy.log_policy(x)
    if found is not None:
        return np.asarray(found.numpy(), float)
    return np.asarray(np.log(np.maximum(served_weights(policy, prompts, embeddings, parts), FLOOR)), float)


def served_weights(policy: Policy, prompts: Sequence[str], embeddings: np.ndarray, parts: Parts) -> np.ndarray:
    """(N, E) float32 weights over the pool as a run gets them: `decide`, prompt by prompt."""
    weights = np.zeros((len(prompts), len(parts.pool)), np.float32)
    for row, (prompt, vector) in enumerate(zip(prompts, embeddings, strict=True)):
        context = Context(prompt=prompt, pool=parts.pool, embedding=vector, descriptors=parts.descriptors)
        weights[row] = policy.decide(context).weights
    return weights


def _changes(job: _Job, policy: Policy) -> list[RoutingChange]:
    """What the parent and the new policy do on every probe, in the probes' order."""
    prompts, vectors = job.probes.prompts, job.probes.embeddings
    before = served_weights(job.parent, prompts, vectors, job.parts)
    after = served_weights(policy, prompts, vectors, job.parts)
    moved = 0.5 * np.abs(after - before).sum(axis=1)
    return [
        RoutingChange(prompt, job.parts.pool.names, old, new, float(far))
        for prompt, old, new, far in zip(prompts, before, after, moved, strict=True)
    ]


def _scale_on(job: _Job, policy: Policy, rows_to_fit: LabelSet) -> float:
    """The strength at which the change of log weights of a policy without beta predicts labels best (one dimension)."""
    prompts = [pair.prompt for pair in rows_to_fit.pairs]
    old = log_weights(job.parent, prompts, rows_to_fit.embeddings, job.parts)
    new = log_weights(policy, prompts, rows_to_fit.embeddings, job.parts)
    change = (rows_to_fit.usage_difference(_experts(job.parent, job.parts)) * (new - old)).sum(axis=1)
    grid = np.geomspace(0.01, 10.0, 61)
    losses = [log_loss(beta * change, rows_to_fit.targets.astype(float)).mean() for beta in grid]
    return float(grid[int(np.argmin(losses))])


def _kl(new: np.ndarray, old: np.ndarray) -> float:
    """KL(new || old) in nats, both with the share that serving spreads over all experts."""
    p, q = ((1 - GUARD) * w.astype(float) + GUARD / len(w) for w in (new, old))
    return float((p * np.log(p / q)).sum())
