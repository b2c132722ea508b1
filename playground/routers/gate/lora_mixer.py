"""LoRA-Mixer: a linear gate in each layer blends the LoRA experts inside the attention projections, token by token.

Source: arXiv:2507.00029 (serial attention routing, frozen external experts). One gate per layer reads the normed
attention input and weighs q, k, v and o alike; softmax over all experts, the `top_k` heaviest kept. Knows nothing of
the prompt as a whole: what it knows of domains it learned from the experts' training data.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.errors import ArtefactError
from playground.routers.artefact import read_router, write_router
from playground.routers.base import Gate, GateRouter, RouterOptions, router

EPSILON = 1e-6


class LinearGate(Gate):
    """`matrix` (L, G, d): one linear map per layer on the hidden state normed without weights, zero at first."""

    def __init__(self, experts: Sequence[str], layers: int, width: int, *, top_k: int, temperature: float) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.top_k = min(top_k, len(self.experts))
        self.temperature = temperature
        self.matrix = nn.Parameter(torch.zeros(layers, len(self.experts), width))

    def probabilities(self, layer: int, hidden: Tensor) -> Tensor:
        """Dense softmax (B, T, G) float32 before the top-k cut."""
        values = hidden.float()
        normed = values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + EPSILON)
        logits = normed @ self.matrix[layer].T / (hidden.shape[-1] ** 0.5 * self.temperature)
        return torch.softmax(logits, dim=-1)

    def weights(self, layer: int, hidden: Tensor) -> Tensor:
        """Weights (B, T, G) of `layer`; in training the cut lets gradients through (straight-through)."""
        dense = self.probabilities(layer, hidden)
        sparse = keep_top(dense, self.top_k)
        return dense + (sparse - dense).detach() if self.training else sparse


def keep_top(weights: Tensor, count: int) -> Tensor:
    """All but the `count` largest of the last axis set to 0, the rest scaled to sum 1; the first of equals stays."""
    if count >= weights.shape[-1]:
        return weights
    order = weights.sort(dim=-1, descending=True, stable=True).indices[..., :count]
    kept = torch.zeros_like(weights).scatter(-1, order, weights.gather(-1, order))
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-12)


@router(
    "lora_mixer",
    title="LoRA-Mixer gate",
    level="gate",
    paper="arXiv:2507.00029",
    trained_from="the experts' own training data, base and adapters frozen",
)
class LoraMixer(GateRouter):
    """The gate with its options; parameters are one (L, G, d) tensor."""

    class Options(RouterOptions):
        """How sharply the gate chooses."""

        top_k: int = Field(3, ge=1, le=64, description="how many experts may act on one token")
        temperature: float = Field(1.0, gt=0.05, le=10, description="softmax temperature; higher blends more evenly")

    def __init__(
        self, experts: Sequence[str], options: RouterOptions | None = None, *, layers: int, width: int
    ) -> None:
        super().__init__(experts, options)
        chosen = self.options
        if not isinstance(chosen, LoraMixer.Options):
            raise TypeError("LoRA-Mixer takes its own options")
        self.gate: LinearGate = LinearGate(experts, layers, width, top_k=chosen.top_k, temperature=chosen.temperature)
        self.gate.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write the gate's matrix and options."""
        layers, _, width = self.gate.matrix.shape
        card = {
            "experts": list(self.experts),
            "options": self.options.model_dump(),
            "layers": layers,
            "width": width,
        }
        write_router(folder, self.spec.name, card, {"matrix": self.gate.matrix.detach().cpu().half().numpy()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises ArtefactError when the shapes do not agree with the card."""
        card, tensors = read_router(folder, "lora_mixer", {"matrix": 3})
        matrix = torch.from_numpy(tensors["matrix"]).float()
        if matrix.shape[1] != len(card["experts"]):
            raise ArtefactError(f"The gate in {folder.name} does not fit its list of experts.", "Train it again.")
        options = cls.Options(**card.get("options", {}))
        made = cls(tuple(card["experts"]), options, layers=matrix.shape[0], width=matrix.shape[2])
        made.gate.matrix.data.copy_(matrix)
        return made
