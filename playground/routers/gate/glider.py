"""GLIDER: the prompt as a whole scores each expert, and so does each token. Both scores are added.

Source: arXiv:2410.07172. The global score is α times the cosine of the prompt with each expert's card. α is large when
some card fits well, and small when none does. The local score comes from a vector per expert and layer. The paper takes
PHATGOOSE's vectors. They hardly followed a prompt of two parts here, so ours are LoRA-Mixer's.

An expert that was added later takes part through its card. Its local score is the mean of the others', as is that of
the base. Our sentence encoder replaces the paper's GPT-4 and Nomic embeddings, so we calibrate the threshold ourselves.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import GateRouter, GateRun, Installed, RouterOptions, router
from playground.routers.parts import SoftmaxGate, layer_normed, priors


class GlobalLocalGate(SoftmaxGate):
    """A gate with `descriptors` (G, d_z), rows of unit length, and `vectors` (L, G, d).

    An expert with a zero vector has no local score of its own.
    """

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
        """Return a run whose prior is α times the cosine with each card. Without an embedding it has no prior."""
        if embedding is None:
            return GateRun(prompt_tokens)
        cosines = self.descriptors @ embedding.to(self.descriptors)
        fits = bool(cosines.max() >= self.options.threshold)
        return GateRun(prompt_tokens, cosines * (self.options.alpha_high if fits else self.options.alpha_low))

    def logits(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return scores (B, T, G): local plus global."""
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
    """The router of `GlobalLocalGate`. Its parameters are local vectors (L, G, d) and descriptors (G, d_z)."""

    gate: GlobalLocalGate
    takes_any_expert = True

    class Options(RouterOptions):
        """How the two scores are weighed."""

        top_k: int = Field(2, ge=1, le=64, description="how many experts may act on one token")
        threshold: float = Field(0.4, ge=-1, le=1, description="a card fits well from this cosine on")
        alpha_high: float = Field(10.0, ge=0, le=1000, description="weight of the global score above the threshold")
        alpha_low: float = Field(3.0, ge=0, le=1000, description="weight of the global score below the threshold")
        local: float = Field(1.0, ge=0, le=100, description="weight of the local score")
        embedding_width: int = Field(
            384, ge=1, description="width of the prompt's embedding", json_schema_extra=fitted()
        )

    options: Options

    def build(self) -> GlobalLocalGate:
        """Return a gate without descriptors or vectors. It gives all experts the same score."""
        return GlobalLocalGate(
            self.experts,
            self.layers,
            self.width,
            embedding_width=self.options.embedding_width,
            options=self.options,
        )

    def gate_for(self, installed: Installed) -> GlobalLocalGate:
        """Return the gate over all installed experts, with their present cards and the local vectors that exist."""
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
