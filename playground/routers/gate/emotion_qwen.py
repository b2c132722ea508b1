"""Emotion-Qwen's hybrid: one gate between a general and an emotion route, so that general skills are not forgotten.

Source: arXiv:2505.06685 (hybrid compressor), without its vision part. Layers up to `after` are the plain base. In the
next layer a logistic gate reads each token together with the mean of the prompt. It gives a share to the emotional
route, which a softmax divides between the emotion and sentiment experts. The rest stays on the base.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import Gate, GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import rms_normed

MEAN, NOW = "mean", "now"
CLOSED = -2.0


class HybridGate(Gate):
    """A gate whose first expert is the base.

    `gate` (2d,) and `bias` () give the share of the emotion route. `split` (G - 1, 2d) divides it among its experts.
    """

    reads_whole_prompt = True  # of the mean

    def __init__(self, experts: Sequence[str], width: int, *, after: int) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.after = after
        self.gate = nn.Parameter(torch.zeros(2 * width))
        self.bias = nn.Parameter(torch.tensor(CLOSED))
        self.split = nn.Parameter(torch.zeros(len(self.experts) - 1, 2 * width))

    def decide(self, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) from the input of the first gated layer. Keep the prompt's mean in each run."""
        values = rms_normed(hidden)
        for row, run in zip(values, runs, strict=True):
            if run.read == 0:
                run.memory[MEAN] = row[: run.prompt_tokens].mean(0)
        means = torch.stack([run.memory[MEAN] for run in runs]).unsqueeze(1).expand_as(values)
        features = torch.cat([means, values], dim=-1) / values.shape[-1] ** 0.5
        share = torch.sigmoid(features @ self.gate + self.bias).unsqueeze(-1)
        division = torch.softmax(features @ self.split.T, dim=-1)
        return torch.cat([1 - share, share * division], dim=-1)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G). The first gated layer decides them, and all later layers use them."""
        if layer <= self.after:
            plain = torch.zeros(*hidden.shape[:2], len(self.experts), device=hidden.device)
            plain[..., 0] = 1.0
            return plain
        if layer == self.after + 1:
            for weights, run in zip(self.decide(hidden, runs), runs, strict=True):
                run.memory[NOW] = weights
        return torch.stack([run.memory[NOW] for run in runs])


@router(
    "emotion_qwen",
    title="Emotion-Qwen: emotion and general routes",
    level="gate",
    paper="arXiv:2505.06685",
    trained_from="emotional and other experts' data, half and half; base and adapters frozen",
)
class EmotionQwen(GateRouter):
    """The router of `HybridGate`. Its parameters are one logistic gate and the split of its share."""

    class Options(RouterOptions):
        """Where the gate begins."""

        after: int = Field(8, ge=0, description="the last layer that is left to the base", json_schema_extra=fitted())

    options: Options

    def build(self) -> Gate:
        """Return a gate that is nearly closed, so that the base answers at first. The last layer is always gated."""
        return HybridGate(self.experts, self.width, after=min(self.options.after, self.layers - 2))
