"""Fit a policy's parameters to labels by gradient. Keep it near its parent where nobody labelled.

L = sum w l / sum w + ridge / (2 n) |scale (theta - theta_ref)|^2 + anchor KL(pi_ref || pi) on prompts far from the
labels. For a linear policy the problem is convex, and L-BFGS solves it in a few dozen evaluations. Sources: DPO,
arXiv:2305.18290. Anchors are the distillation term of "Learning without forgetting", arXiv:1606.09282.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from playground.learn.labels.dataset import balanced_weights
from playground.learn.labels.objective import LabelObjective
from playground.routers.base import LabelSet, Policy

STEPS = 40
ITERATIONS = 5  # of L-BFGS in one step: 40 x 5 = 200
TOLERANCE = 1e-6
# The weight of the anchors. Chosen on 60 labels for one expert on one kind of the shipped example prompts (6 kinds, 3
# seeds, linear router, cap 0.5, then measured with 2 % of the weight spread over all experts). Without anchors, prompts
# of other kinds move by 0.082 of total variation (at worst 0.105), and the wanted expert gets 0.52 on unseen prompts of
# the kind. With weight 5 these figures are 0.057 (0.086) and 0.58. Counting anchors up to a cosine of 0.5 undid that.
ANCHOR = 5.0
FAR, NEAR = 0.25, 0.35  # cosine to the nearest labelled prompt: below FAR an anchor counts fully, above NEAR not at all
BISECTIONS = 30


@dataclass(frozen=True)
class FitProgress:
    """One step of a fit. Losses are in nats per label.

    Without validation labels, the training labels stand in for them. Accuracy is NaN when no label prefers an answer.
    `parameters` are copies of what was fitted so far, from which a later fit can go on.
    """

    step: int
    steps: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float
    parameters: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Begun:
    """Hold where an earlier fit of the same labels stopped: the steps it took, and the parameters after them."""

    step: int
    parameters: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels as tensors over the policy's experts.

    `x` (N, d) embeds the prompts. `difference` (N, E) is the usage of A minus that of B. `target` and `weight` are
    (N,). `reference` (N, E) is log pi_ref.
    """

    x: Tensor
    difference: Tensor
    target: Tensor
    weight: Tensor
    reference: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Anchors:
    """Prompts on which nothing should change: embeddings `x` (K, d), `weight` (K,), `reference` log pi_ref (K, E)."""

    x: Tensor
    weight: Tensor
    reference: Tensor


def log_policy(policy: Policy, embeddings: Tensor) -> Tensor:
    """Return log pi (N, E) for embeddings (N, d). Raise TypeError for a policy that has none."""
    found = policy.log_policy(embeddings)
    if found is None:
        raise TypeError(f"{policy.spec.name} cannot be trained by gradient")
    return found


def batch(labels: LabelSet, reference: Policy) -> LabelBatch:
    """Return the labels over the experts of `reference`, with the log policy of `reference`."""
    x = torch.from_numpy(np.ascontiguousarray(labels.embeddings, dtype=np.float32))
    with torch.no_grad():
        log_reference = log_policy(reference, x).detach()
    return LabelBatch(
        x=x,
        difference=torch.from_numpy(labels.usage_difference(reference.experts)),
        target=torch.from_numpy(labels.targets),
        weight=torch.from_numpy(balanced_weights(labels.weights)),
        reference=log_reference,
    )


def anchors(embeddings: np.ndarray, labelled: np.ndarray, reference: Policy) -> Anchors | None:
    """Return `embeddings` (K, d) as anchors, weighted by their distance to the nearest prompt of `labelled` (M, d).

    Return None when no anchor would count.
    """
    if not len(embeddings) or not len(labelled):
        return None
    nearest = (embeddings @ labelled.T).max(axis=1)
    weight = np.clip((NEAR - nearest) / (NEAR - FAR), 0.0, 1.0).astype(np.float32)
    if weight.sum() <= 0:
        return None
    x = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
    with torch.no_grad():
        return Anchors(x=x, weight=torch.from_numpy(weight), reference=log_policy(reference, x).detach())


def trainable(policy: Policy) -> list[Tensor]:
    """Return what a fit changes: matrices, not biases. A bias moves every prompt alike, whatever was labelled."""
    matrices = [parameter for parameter in policy.parameters() if parameter.ndim > 1]
    return matrices or policy.parameters()


def fit(
    policy: Policy,
    objective: LabelObjective,
    train: LabelBatch,
    valid: LabelBatch,
    kept: Anchors | None,
    *,
    begun: Begun | None = None,
) -> Iterator[FitProgress]:
    """Change `policy` in place until it has converged, or for STEPS. Yield progress after each ITERATIONS of L-BFGS.

    With `begun`, go on from there. The optimiser's memory of curvature begins anew, which costs a step or two.
    """
    parameters = trainable(policy)
    start = [parameter.detach().clone() for parameter in parameters]
    if begun is not None:
        with torch.no_grad():
            for parameter, reached in zip(parameters, begun.parameters, strict=True):
                parameter.copy_(reached)
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=ITERATIONS,
        history_size=20,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = _loss(policy, objective, train) + _ridge(objective, parameters, start, len(train))
        if kept is not None:
            total = total + ANCHOR * _drift(policy, kept)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    last = float("inf")
    for step in range(1 if begun is None else min(begun.step + 1, STEPS), STEPS + 1):
        value = float(optimiser.step(loss).detach())  # type: ignore[no-untyped-call]
        done = abs(last - value) < 1e-7
        yield _progress(policy, objective, train, valid, STEPS if done else step)
        if done:
            return
        last = value


def scale_step(policy: Policy, start: list[Tensor], share: float) -> None:
    """Keep `share` of the change of the trainable parameters since `start`.

    For linear logits this is the same as dividing beta by `share`.
    """
    with torch.no_grad():
        for parameter, before in zip(trainable(policy), start, strict=True):
            parameter.copy_(before + share * (parameter - before))


def largest_share(policy: Policy, reference: Policy, embeddings: np.ndarray, *, cap: float) -> float:
    """Return the largest share in 0..1 of the change that keeps the mean KL(pi || pi_ref) within `cap` nats.

    The mean is over prompts with these `embeddings` (N, d). A bisection on the share needs no refit. It leaves `policy`
    as it was.
    """
    x = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
    fitted = [parameter.detach().clone() for parameter in trainable(policy)]
    start = [parameter.detach().clone() for parameter in trainable(reference)]

    def drift(share: float) -> float:
        with torch.no_grad():
            for parameter, before, after in zip(trainable(policy), start, fitted, strict=True):
                parameter.copy_(before + share * (after - before))
        return mean_kl(policy, reference, x)

    low, high = 0.0, 1.0
    if len(embeddings) and drift(1.0) > cap:
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if drift(middle) <= cap else (low, middle)
    else:
        low = 1.0
    with torch.no_grad():
        for parameter, after in zip(trainable(policy), fitted, strict=True):
            parameter.copy_(after)
    return low


def mean_kl(policy: Policy, reference: Policy, x: Tensor) -> float:
    """Return the mean over the prompts (N, d) of KL(pi || pi_ref) in nats. It is finite, since it uses log policies."""
    with torch.no_grad():
        new, old = log_policy(policy, x), log_policy(reference, x)
        return float((new.exp() * (new - old)).sum(-1).mean()) if len(x) else 0.0


def _loss(policy: Policy, objective: LabelObjective, rows: LabelBatch) -> Tensor:
    losses = objective.loss(log_policy(policy, rows.x), rows.reference, rows.difference, rows.target, rows.weight)
    return losses.sum() / rows.weight.sum()


def _ridge(objective: LabelObjective, parameters: list[Tensor], start: list[Tensor], n: int) -> Tensor:
    moved = torch.stack([(now - before).square().sum() for now, before in zip(parameters, start, strict=True)]).sum()
    return objective.options.ridge / (2 * n) * objective.ridge_scale**2 * moved


def _drift(policy: Policy, kept: Anchors) -> Tensor:
    """Return the weighted mean of KL(pi_ref || pi) on the anchors, in nats."""
    kl = (kept.reference.exp() * (kept.reference - log_policy(policy, kept.x))).sum(-1)
    return (kept.weight * kl).sum() / kept.weight.sum()


def _progress(
    policy: Policy, objective: LabelObjective, train: LabelBatch, valid: LabelBatch, step: int
) -> FitProgress:
    with torch.no_grad():
        watched = valid if len(valid) else train
        margin = objective.margin(log_policy(policy, watched.x), watched.reference, watched.difference)
        decisive = watched.target != 0.5
        right = (torch.sign(margin) == torch.sign(watched.target - 0.5))[decisive]
        return FitProgress(
            step=step,
            steps=STEPS,
            train_loss=float(_loss(policy, objective, train)),
            valid_loss=float(_loss(policy, objective, watched)),
            valid_accuracy=float(right.float().mean()) if len(right) else float("nan"),
            parameters=tuple(parameter.detach().clone() for parameter in trainable(policy)),
        )
