"""Judge labels by models that never saw their prompts: how clear each one is, and which ones all others contradict.

Source: Wang et al., "Secrets of RLHF Part II", arXiv:2401.06080. The strength of a preference is the mean margin of an
ensemble, and its doubt the spread. Here no member has seen the label, nor another one on the same prompt.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress, Fitting
    from playground.learn.labels.objective import LabelObjective

MEMBER_STEPS = 6  # of a member's descent: thirty iterations of a convex fit


def cross_fitted(
    objective: "LabelObjective", fitting: "Fitting", *, folds: int, members: int
) -> "Generator[FitProgress, None, tuple[Tensor, Tensor] | None]":
    """Return (mean, spread) of the log odds (N,) for each label of the fit, from models that never saw its prompt.

    Every fold has `members` models, each fitted to a bootstrap sample of the prompts of the other folds. Return None
    with fewer prompts than folds. Yield the progress of each model.
    """
    rows, names = fitting.train, fitting.train.groups
    maker = torch.Generator().manual_seed(0)
    distinct = torch.unique(names)
    if len(distinct) < folds:
        return None
    fold = (torch.randperm(len(distinct), generator=maker) % folds)[torch.searchsorted(distinct, names)]
    margins = torch.zeros(members, len(rows))
    for out in range(folds):
        unseen = fold == out
        kept = torch.unique(names[~unseen])
        for member in range(members):
            drawn = torch.bincount(torch.randint(len(kept), (len(kept),), generator=maker), minlength=len(kept))
            seen = torch.nonzero(~unseen)[:, 0]
            times = drawn[torch.searchsorted(kept, names[seen])]
            twin = fitting.twin(rows.take(seen.repeat_interleave(times)))
            number = out * members + member + 1
            yield from twin.descend(objective, part=number, parts=2 * folds * members, steps=MEMBER_STEPS)
            margins[member, unseen] = twin.margins(objective, rows.take(unseen))
    return margins.mean(0), margins.std(0)


def bands(target: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Return (N,): -1 for a contradicted label, 0 for an ambiguous one, 1 for a clear one. A tie is ambiguous.

    `mean` and `spread` are those of the log odds that A beats B.
    """
    towards = torch.sign(target - 0.5) * mean
    band = torch.where(towards < -2 * spread, -1, torch.where(mean.abs() <= spread, 0, 1))
    return torch.where(target == 0.5, torch.zeros_like(band), band)
