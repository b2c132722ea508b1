"""Fit a policy's parameters to labels by gradient. Keep it near its parent where nobody labelled.

L = sum w l / n + ridge / (2 n) |scale (theta - theta_ref)|^2 + anchor KL(pi_ref || pi) on prompts far from the labels,
with n = sum w. For a linear policy the problem is convex, and L-BFGS solves it in a few dozen evaluations.
Sources: DPO, arXiv:2305.18290. Anchors are the distillation term of "Learning without forgetting", arXiv:1606.09282.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

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
MOST_PROMPTS = 2000  # on which a mix is computed that the policy then imitates
IMITATED = 1e-4  # keeps weights small that serve a policy which no logits reach
CHUNK = 16_384  # labels whose loss is computed at once, so that memory does not grow with their number


@dataclass(frozen=True)
class FitProgress:
    """One step of a fit. Losses are in nats per label.

    Without validation labels, the training labels stand in for them. Accuracy is NaN when no label prefers an answer.
    """

    step: int
    steps: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels as tensors over the policy's experts.

    Row `at[i]` of `vectors` (P, d) embeds the prompt of label i; without `at`, row i does. `difference` (N, E) is the
    usage of A minus that of B. `target` and `weight` are (N,). `reference` (N, E) is log pi_ref. Labels with one number
    in `group` (N,) are on one prompt. `nuisance` (N, k) is by how much A has more than B of what sways a vote without
    being quality, such as length.
    """

    vectors: Tensor
    difference: Tensor
    target: Tensor
    weight: Tensor
    reference: Tensor
    group: Tensor | None = None
    nuisance: Tensor | None = None
    at: Tensor | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def x(self) -> Tensor:
        """Return (N, d) the embedding of each label's prompt: a copy where labels share them."""
        return self.vectors if self.at is None else self.vectors[self.at]

    def take(self, rows: Tensor | slice) -> "LabelBatch":
        """Return the labels at `rows`. A slice shares their memory."""
        vectors = self.vectors if self.at is not None else self.vectors[rows]
        required = (self.difference, self.target, self.weight, self.reference)
        optional = [None if each is None else each[rows] for each in (self.group, self.nuisance, self.at)]
        return LabelBatch(vectors, *(each[rows] for each in required), *optional)

    def chunks(self) -> Iterator["LabelBatch"]:
        """Yield the labels in parts of CHUNK."""
        for low in range(0, len(self), CHUNK):
            yield self.take(slice(low, low + CHUNK))

    @property
    def groups(self) -> Tensor:
        """Return (N,) a number for each label's prompt. Without `group`, prompts with one embedding are one."""
        if self.group is not None:
            return self.group
        return torch.unique(self.vectors, dim=0, return_inverse=True)[1] if self.at is None else self.at


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
    vectors = torch.from_numpy(np.ascontiguousarray(labels.vectors, dtype=np.float32))
    at = None if labels.at is None else torch.from_numpy(np.asarray(labels.at, np.int64))
    with torch.no_grad():
        log_reference = _on_labels(log_policy(reference, vectors).detach(), at)
    return LabelBatch(
        vectors,
        difference=torch.from_numpy(labels.usage_difference(reference.experts)),
        target=torch.from_numpy(labels.targets),
        weight=torch.from_numpy(balanced_weights(labels.weights)),
        reference=log_reference,
        at=at,
    )


def _on_labels(values: Tensor, at: Tensor | None) -> Tensor:
    return values if at is None else values[at]


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


@dataclass(eq=False)
class Fitting:
    """One fit. `policy` changes in place, on the labels of `train`, near its start on `anchors`.

    A descent also fits `tilt` (1, k): how much each column of `nuisance` sways a vote. It is not served. `scorer` holds
    the fitted scores, and is another policy than `policy` when an objective serves something else than its scores.
    """

    policy: Policy
    train: LabelBatch
    valid: LabelBatch
    anchors: Anchors | None = None
    tilt: Tensor | None = None
    scorer: Policy = field(init=False)
    parent: Policy = field(init=False)

    def __post_init__(self) -> None:
        self.scorer, self.parent = self.policy, copy.deepcopy(self.policy)
        if self.tilt is None and self.train.nuisance is not None:
            self.tilt = torch.zeros(1, self.train.nuisance.shape[1], requires_grad=True)

    def log_policy(self, rows: LabelBatch) -> Tensor:
        """Return log pi (N, E) of the scorer, with what sways the vote added to the odds of A over B."""
        found = log_policy(self.scorer, rows.x)
        if rows.nuisance is None or self.tilt is None:
            return found
        size = rows.difference.square().sum(-1, keepdim=True).clamp(min=1e-12)
        return found + (rows.nuisance @ self.tilt.T) * rows.difference / size

    def margins(self, objective: LabelObjective, rows: LabelBatch) -> Tensor:
        """Return the log odds (N,) that A beats B, as the fitted objective predicts them. It has no gradient."""
        with torch.no_grad():
            parts = [objective.margins(self.log_policy(part), part) for part in rows.chunks()]
        return torch.cat(parts) if parts else torch.zeros(0)

    def prompts(self) -> Tensor:
        """Return the embeddings (M, d) of different prompts of the labels, MOST_PROMPTS at most."""
        if self.train.at is None:
            return torch.unique(self.train.vectors, dim=0)[:MOST_PROMPTS]
        return self.train.vectors[torch.unique(self.train.at)[:MOST_PROMPTS]]

    def reference(self, x: Tensor) -> Tensor:
        """Return log pi (M, E) of the version before."""
        with torch.no_grad():
            return log_policy(self.parent, x)

    def moved(self, x: Tensor) -> Tensor:
        """Return the fitted change of log weights (M, E)."""
        with torch.no_grad():
            return log_policy(self.scorer, x) - self.reference(x)

    def parameters(self) -> list[Tensor]:
        """Return copies of what is trained, and not of what sways votes."""
        return [parameter.detach().clone() for parameter in trainable(self.policy)]

    def place(self, values: list[Tensor]) -> None:
        """Set what is trained to `values`, as `parameters` gave them."""
        with torch.no_grad():
            for parameter, value in zip(trainable(self.policy), values, strict=True):
                parameter.copy_(value)

    def twin(self, train: LabelBatch) -> "Fitting":
        """Return a fit of a copy of the policy on other labels, from where this one is now."""
        return Fitting(copy.deepcopy(self.policy), train, train.take(slice(0, 0)))

    def from_here(self, rows: LabelBatch) -> LabelBatch:
        """Return the labels with the policy as it is now for their reference."""
        with torch.no_grad():
            return replace(rows, reference=_on_labels(log_policy(self.policy, rows.vectors), rows.at))

    def descend(
        self,
        objective: LabelObjective,
        rows: LabelBatch | None = None,
        *,
        part: int = 1,
        parts: int = 1,
        steps: int = STEPS,
    ) -> Iterator[FitProgress]:
        """Minimise the objective on `rows`, by default all, until it has converged, or for `steps`.

        Yield progress after each ITERATIONS of L-BFGS. `part` of `parts` says which of several descents this is.
        """
        rows = self.train if rows is None else rows
        moved = [*trainable(self.policy), *([] if self.tilt is None else [self.tilt]), *objective.heads()]
        start = [parameter.detach().clone() for parameter in moved]
        optimiser = torch.optim.LBFGS(
            moved,
            max_iter=ITERATIONS,
            history_size=20,
            tolerance_grad=TOLERANCE,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            held = _ridge(objective, moved, start, float(rows.weight.sum()))
            if self.anchors is not None:
                held = held + ANCHOR * _drift(self.policy, self.anchors)
            held.backward()  # type: ignore[no-untyped-call]
            return held.detach() + self._loss(objective, rows, backward=True)

        last = float("inf")
        for step in range(1, steps + 1):
            value = float(optimiser.step(closure).detach())  # type: ignore[no-untyped-call]
            done = abs(last - value) < 1e-7
            shown = steps if done else step
            yield self._progress(objective, rows, (part - 1) * steps + shown, parts * steps)
            if done:
                return
            last = value

    def imitate(self, x: Tensor, wanted: Tensor) -> None:
        """Make the policy serve `wanted` (M, E) on prompts `x` (M, d). The fitted scores stay in `scorer`."""
        self.scorer = copy.deepcopy(self.policy)
        parameters = trainable(self.policy)
        start = [parameter.detach().clone() for parameter in parameters]
        optimiser = torch.optim.LBFGS(parameters, max_iter=STEPS * ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = -(wanted * log_policy(self.policy, x)).sum(-1).mean() + IMITATED * _moved(parameters, start)
            if self.anchors is not None:
                loss = loss + ANCHOR * _drift(self.policy, self.anchors)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]

    def _loss(self, objective: LabelObjective, rows: LabelBatch, *, backward: bool = False) -> Tensor:
        """Return the weighted mean loss without its gradient, which `backward` adds to the parameters' own."""
        total, mass = torch.zeros(()), rows.weight.sum()
        for part in rows.chunks():
            loss = objective.losses(self.log_policy(part), part).sum() / mass
            if backward:
                loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total

    def _progress(self, objective: LabelObjective, rows: LabelBatch, step: int, steps: int) -> FitProgress:
        with torch.no_grad():
            watched = self.valid if len(self.valid) else rows
            decisive = watched.target != 0.5
            agree = torch.sign(self.margins(objective, watched)) == torch.sign(watched.target - 0.5)
            right = agree[decisive]
            return FitProgress(
                step=step,
                steps=steps,
                train_loss=float(self._loss(objective, rows)),
                valid_loss=float(self._loss(objective, watched)),
                valid_accuracy=float(right.float().mean()) if len(right) else float("nan"),
            )


def fit(
    policy: Policy, objective: LabelObjective, train: LabelBatch, valid: LabelBatch, kept: Anchors | None
) -> Iterator[FitProgress]:
    """Change `policy` in place as the objective learns. Yield progress. An objective learns once."""
    yield from objective.learn(Fitting(policy, train, valid, kept))


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


def _ridge(objective: LabelObjective, parameters: list[Tensor], start: list[Tensor], n: float) -> Tensor:
    return objective.options.ridge / (2 * n) * objective.ridge_scale**2 * _moved(parameters, start)


def _moved(parameters: list[Tensor], start: list[Tensor]) -> Tensor:
    """Return the squared distance of the parameters from their start."""
    return torch.stack([(now - before).square().sum() for now, before in zip(parameters, start, strict=True)]).sum()


def _drift(policy: Policy, kept: Anchors) -> Tensor:
    """Return the weighted mean of KL(pi_ref || pi) on the anchors, in nats."""
    kl = (kept.reference.exp() * (kept.reference - log_policy(policy, kept.x))).sum(-1)
    return (kept.weight * kl).sum() / kept.weight.sum()
