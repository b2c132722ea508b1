"""GLIDER: the prompt as a whole says which experts fit, each token says which of them now; both scores are added.

Source: arXiv:2410.07172. Global: cosine of the prompt with each expert's card, times α, which is large when some card
fits well and small when none does. Local: a vector per expert and layer; ours are LoRA-Mixer's, as PHATGOOSE's, which
the paper uses, hardly followed a prompt of two parts here. An expert that came later takes part by its card; its local
score is the mean of the others', as the base's is. Our sentence encoder stands in for the paper's GPT-4 and Nomic
embeddings, so the threshold is calibrated, not the paper's.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import GateRouter, GateRun, Installed, RouterOptions, router
from playground.routers.parts import SoftmaxGate, layer_normed, priors


class GlobalLocalGate(SoftmaxGate):
    """`descriptors` (G, d_z) unit rows, `vectors` (L, G, d); a zero vector means no local score of its own."""

    needs_embedding = True
    descriptors: Tensor

    def __init__(
        self, experts: Sequence[str], layers: int, width: int, *, embedding_width: int, options: "Glider.Options"
    ) -> None:
        super().__init__(experts, top_k=options.top_k)
        self.options = options
        self.vectors = nn.Parameter(torch.zeros(layers, len(self.experts), width))
        self.register_buffer("descriptors", torch.zeros(len(self.experts), embedding_width))

    def open(self, prompt_tokens: int, embedding: Tensor | None = None) -> GateRun:
        """Return a run whose prior is α times the cosine with each card."""
        if embedding is None:
            return GateRun(prompt_tokens)
        cosines = self.descriptors @ embedding.to(self.descriptors)
        fits = bool(cosines.max() >= self.options.threshold)
        return GateRun(prompt_tokens, cosines * (self.options.alpha_high if fits else self.options.alpha_low))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return (B, T, G): local plus global scores."""
        vectors = self.vectors[layer]
        known = vectors.any(-1)
        local = layer_normed(hidden) @ layer_normed(vectors).T * (self.options.local / hidden.shape[-1] ** 0.5)
        if not bool(known.all()):
            others = local[..., known].mean(-1, keepdim=True) if bool(known.any()) else torch.zeros_like(local[..., :1])
            local = torch.where(known, local, others)
        prior = priors(runs)
        return local if prior is None else local + prior


@router(
    "glider",
    title="GLIDER: global and local",
    level="gate",
    paper="arXiv:2410.07172",
    trained_from="local vectors as LoRA-Mixer learned them; the global part from the experts' cards, untrained",
)
class Glider(GateRouter):
    """Parameters are (L, G, d) local vectors and (G, d_z) descriptors."""

    gate: GlobalLocalGate
    takes_any_expert = True

    class Options(RouterOptions):
        """How the two scores are weighed."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")
        threshold: float = Field(0.4, ge=-1, le=1, description="best cosine from which the prompt decides")
        alpha_high: float = Field(10.0, ge=0, le=1000, description="weight of the global score above the threshold")
        alpha_low: float = Field(3.0, ge=0, le=1000, description="weight of the global score below the threshold")
        local: float = Field(1.0, ge=0, le=100, description="weight of the local score")
        embedding_width: int = Field(
            384, ge=1, description="width of the prompt's embedding", json_schema_extra=fitted()
        )

    options: Options

    def build(self) -> GlobalLocalGate:
        """Return a gate without descriptors or vectors: all alike."""
        return GlobalLocalGate(
            self.experts,
            self.layers,
            self.width,
            embedding_width=self.options.embedding_width,
            options=self.options,
        )

    def gate_for(self, installed: Installed) -> GlobalLocalGate:
        """Return the gate over all installed experts: their cards as they are now, local vectors where learned."""
        gate = GlobalLocalGate(
            installed.names,
            self.layers,
            self.width,
            embedding_width=installed.descriptors.shape[1],
            options=self.options,
        )
        gate.descriptors.copy_(torch.from_numpy(installed.descriptors))
        for place, name in enumerate(installed.names):
            if name in self.experts:
                gate.vectors.data[:, place] = self.gate.vectors[:, self.experts.index(name)]
        return gate.eval().requires_grad_(False)
