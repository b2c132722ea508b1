"""LoRA-Mixer: a linear gate in each layer blends the LoRA experts inside the attention projections, token by token.

Source: arXiv:2507.00029 (serial attention routing). One map per layer reads the normed attention input. Its weights
hold for q, k, v and o alike: a softmax over all experts, of which the `top_k` heaviest are kept. The prompt as a whole
adds logits: a linear map of its embedding, which begins as the similarity to each expert's training prompts.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import LinearGate


class PromptedLinearGate(LinearGate):
    """A linear gate with `prompt_matrix` (G, d_z): logits from the prompt's embedding, scaled by `share`."""

    needs_embedding = True

    def __init__(
        self,
        experts: Sequence[str],
        layers: int,
        width: int,
        *,
        top_k: int,
        temperature: float,
        share: float,
        embedding_width: int,
    ) -> None:
        super().__init__(experts, layers, width, top_k=top_k, temperature=temperature)
        self.share = share
        self.prompt_matrix = nn.Parameter(torch.zeros(len(self.experts), embedding_width))

    def open(self, prompt_tokens: int, embedding: Tensor | None = None) -> GateRun:
        """Return a run whose prior is the prompt's logits. Without an embedding it has no prior."""
        prior = None if embedding is None else self.share * (self.prompt_matrix @ embedding.to(self.prompt_matrix))
        return GateRun(prompt_tokens, prior)


@router(
    "lora_mixer",
    title="LoRA-Mixer gate",
    level="gate",
    paper="arXiv:2507.00029",
    trained_from="the experts' own training data, base and adapters frozen",
)
class LoraMixer(GateRouter):
    """The router of `PromptedLinearGate`. Its parameters are (L, G, d) for tokens and (G, d_z) for the prompt."""

    class Options(RouterOptions):
        """How sharply the gate chooses, and how much the prompt as a whole counts."""

        top_k: int = Field(3, ge=1, le=64, description="how many experts may act on one token")
        temperature: float = Field(1.0, gt=0.05, le=10, description="softmax temperature; higher blends more evenly")
        share: float = Field(1.0, ge=0, le=10, description="how much the prompt as a whole counts; 0 is tokens alone")
        embedding_width: int = Field(
            384, ge=1, description="width of the prompt's embedding", json_schema_extra=fitted()
        )

    options: Options
    gate: PromptedLinearGate

    def build(self) -> PromptedLinearGate:
        """Return a gate whose parameters are zero."""
        chosen = self.options
        return PromptedLinearGate(
            self.experts,
            self.layers,
            self.width,
            top_k=chosen.top_k,
            temperature=chosen.temperature,
            share=chosen.share,
            embedding_width=chosen.embedding_width,
        )
