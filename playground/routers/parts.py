"""Pieces that several gates share: norms without weights, the top-k cut, a linear gate. None belongs to one paper."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from playground.routers.base import Gate, GateRun

EPSILON = 1e-6


def rms_normed(hidden: Tensor) -> Tensor:
    """Return `hidden` (..., d) in float32, scaled to root mean square 1. Its length is then sqrt(d)."""
    values = hidden.float()
    return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + EPSILON)


def layer_normed(values: Tensor) -> Tensor:
    """Return `values` (..., d) in float32 with mean 0 and variance 1 along the last axis."""
    return torch.nn.functional.layer_norm(values.float(), values.shape[-1:])


def keep_top(weights: Tensor, count: int) -> Tensor:
    """Return the `count` largest of the last axis, scaled to sum 1, and 0 for the rest. The first of equals is kept."""
    if count >= weights.shape[-1]:
        return weights
    sorted_weights, order = weights.sort(dim=-1, descending=True, stable=True)
    kept = sorted_weights[..., :count]
    kept = kept / kept.sum(-1, keepdim=True).clamp_min(1e-12)
    return torch.zeros_like(weights).scatter(-1, order[..., :count], kept)


def top_softmax(logits: Tensor, count: int) -> Tensor:
    """Return `keep_top` of the softmax of `logits`, in half the time. Of equals, any may be kept."""
    if count >= logits.shape[-1]:
        return torch.softmax(logits, dim=-1)
    largest, places = logits.topk(count, dim=-1)
    return torch.zeros_like(logits).scatter_(-1, places, torch.softmax(largest, dim=-1))


def priors(runs: Sequence[GateRun]) -> Tensor | None:
    """Return the priors (B, 1, G) of the runs. Return None when they have none."""
    found = [run.prior for run in runs if run.prior is not None]
    if len(found) == 1:
        return found[0].view(1, 1, -1)
    return torch.stack(found).unsqueeze(1) if found else None


class SoftmaxGate(Gate):
    """A gate whose weights are the `top_k` heaviest of a softmax. In training, gradients pass through the cut."""

    top_k: int

    def __init__(self, experts: Sequence[str], *, top_k: int) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.top_k = min(top_k, len(self.experts))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return the scores (B, T, G) float32 before the softmax."""
        raise NotImplementedError

    def dense(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return the softmax (B, T, G) float32 before the top-k cut."""
        return torch.softmax(self.logits(layer, hidden, runs), dim=-1)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) of `layer`."""
        if self.training:
            return self.in_training(layer, hidden, runs)[0]
        return top_softmax(self.logits(layer, hidden, runs), self.top_k)

    def in_training(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> tuple[Tensor, Tensor]:
        """Return the `top_k` heaviest weights, and the whole softmax. Gradients pass through the cut unchanged."""
        dense = self.dense(layer, hidden, runs)
        return dense + (keep_top(dense, self.top_k) - dense).detach(), dense


class LinearGate(SoftmaxGate):
    """A gate with one linear map per layer, `matrix` (L, G, d). It is zero at first."""

    def __init__(
        self, experts: Sequence[str], layers: int, width: int, *, top_k: int, temperature: float = 1.0
    ) -> None:
        super().__init__(experts, top_k=top_k)
        self.temperature = temperature
        self.matrix = nn.Parameter(torch.zeros(layers, len(self.experts), width))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return scores (B, T, G): the map of the hidden state at length 1, plus the priors, over the temperature."""
        values = hidden.float()
        length = torch.linalg.vector_norm(values, dim=-1, keepdim=True).clamp_min(EPSILON)
        scores = functional.linear(values, self.matrix[layer])
        prior = priors(runs)
        scores = scores / length if prior is None else torch.addcdiv(prior, scores, length)
        return scores if self.temperature == 1 else scores / self.temperature
