"""PHATGOOSE: every expert brings a gate vector per layer, trained alone; at run time the vectors compete for each
token.

Source: arXiv:2402.05859. Training expert e: y = W u + σ(v_e · u) B_e A_e u, only v_e learns, other experts' data is
never seen. Routing: v and u normed to mean 0 and variance 1, softmax of v · u / sqrt(d) over the experts, the top k
kept.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.routers.base import Gate, GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import SoftmaxGate, layer_normed, rms_normed

OWN = "own"


class VectorGate(SoftmaxGate):
    """`vectors` (L, G, d), the base's stay zero: it has no adapter and takes no part. Row i of a training batch uses
    only the expert `runs[i].memory['own']`, scaled by its sigmoid; the rest of the weight lies on the base."""

    def __init__(self, experts: Sequence[str], layers: int, width: int, *, top_k: int) -> None:
        super().__init__(experts, top_k=top_k)
        self.vectors = nn.Parameter(torch.zeros(layers, len(self.experts), width))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return (B, T, G): v · u / sqrt(d) of the normed vectors; the base, first of the experts, gets none."""
        found = layer_normed(hidden) @ layer_normed(self.vectors[layer]).T / hidden.shape[-1] ** 0.5
        found[..., 0] = -torch.inf
        return found

    def in_training(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> tuple[Tensor, Tensor]:
        """Return each row's own expert under its sigmoid, and the base with the rest; for the losses the same."""
        own = torch.stack([run.memory[OWN] for run in runs])
        opening = torch.sigmoid((rms_normed(hidden) * self.vectors[layer][own].unsqueeze(1)).sum(-1, keepdim=True))
        chosen = nn.functional.one_hot(own, len(self.experts)).unsqueeze(1) * opening
        plain = nn.functional.one_hot(torch.zeros_like(own), len(self.experts)).unsqueeze(1) * (1 - opening)
        return chosen + plain, chosen + plain


@router(
    "phatgoose",
    title="PHATGOOSE: a gate per expert",
    level="gate",
    paper="arXiv:2402.05859",
    trained_from="each expert's own training data, one expert at a time",
)
class Phatgoose(GateRouter):
    """Parameters are one (L, G, d) tensor."""

    class Options(RouterOptions):
        """How many experts act."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")

    options: Options

    def build(self) -> Gate:
        """Return a gate whose vectors are zero."""
        return VectorGate(self.experts, self.layers, self.width, top_k=self.options.top_k)
