"""PHATGOOSE: every expert has a gate vector per layer, trained alone. At run time the vectors compete for each token.

Source: arXiv:2402.05859. To train expert e, y = W u + σ(v_e · u) B_e A_e u: only v_e learns, on the data of e alone. To
route, v and u are normed to mean 0 and variance 1. The weights are the top k of a softmax of v · u / sqrt(d).
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.routers.base import Gate, GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import SoftmaxGate, layer_normed, rms_normed

OWN = "own"


class VectorGate(SoftmaxGate):
    """A gate over `vectors` (L, G, d). The base has no adapter, so its vectors stay zero and it gets no weight.

    In training, row i uses only the expert `runs[i].memory['own']`, scaled by its sigmoid. The base has the rest of the
    weight.
    """

    def __init__(self, experts: Sequence[str], layers: int, width: int, *, top_k: int) -> None:
        super().__init__(experts, top_k=top_k)
        self.vectors = nn.Parameter(torch.zeros(layers, len(self.experts), width))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return scores (B, T, G): v · u / sqrt(d) of the normed vectors, and -inf for the base, the first expert."""
        found = layer_normed(hidden) @ layer_normed(self.vectors[layer]).T / hidden.shape[-1] ** 0.5
        found[..., 0] = -torch.inf
        return found

    def in_training(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> tuple[Tensor, Tensor]:
        """Return the weights of each row's own expert, by its sigmoid, and of the base. The losses read the same."""
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
    """The router of `VectorGate`. Its parameters are one tensor (L, G, d)."""

    class Options(RouterOptions):
        """How many experts act."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")

    options: Options

    def build(self) -> Gate:
        """Return a gate whose vectors are zero."""
        return VectorGate(self.experts, self.layers, self.width, top_k=self.options.top_k)
