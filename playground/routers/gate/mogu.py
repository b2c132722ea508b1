"""MoGU: two dials per layer blend a usable and a safe variant of the model for each token where an answer begins.

Source: arXiv:2405.14488. In each layer two small networks, the dials, read the token and give α (safe) and β (usable).
The safe variant is the expert `safe`. The usable variant is the base or another expert.

Four things differ from the paper. We normalise α and β, so that the base's own output is never scaled. After `guard`
answer tokens the plain model goes on with its cache; the released code reads everything again. The dials act on the
last `lead` tokens of the prompt, not on all of it, so that other tasks stay as they were. We mix wherever the adapter
acts, not on the output projection alone.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from playground.options import fitted
from playground.routers.base import Gate, GateRouter, GateRun, RouterOptions, router
from playground.routers.parts import rms_normed

SAFE = "safe"


class DialGate(Gate):
    """A gate of two dials in each layer, usable and safe: `down` (L, 2, b, d), tanh, `up` (L, 2, b), `bias` (L, 2).

    The base is the first expert, the safe one is the last, and the usable one stands before it. That may be the base.
    """

    def __init__(
        self, experts: Sequence[str], layers: int, width: int, *, bottleneck: int, guard: int, lead: int
    ) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.guard = guard
        self.lead = lead
        self.down = nn.Parameter(torch.randn(layers, 2, bottleneck, width) / width**0.5)
        self.up = nn.Parameter(torch.zeros(layers, 2, bottleneck))
        self.bias = nn.Parameter(torch.zeros(layers, 2))

    def dials(self, layer: int, hidden: Tensor) -> Tensor:
        """Return the dials (B, T, 2) in (0, 1): usable β, then safe α."""
        inner = torch.tanh(torch.einsum("btd,nkd->btnk", rms_normed(hidden), self.down[layer]))
        return torch.sigmoid((inner * self.up[layer]).sum(-1) + self.bias[layer])

    def sharpen(self, factor: float, lean: float) -> None:
        """Multiply the dials' logits by `factor`. Then raise the usable one by `lean`, and lower the safe one by it."""
        with torch.no_grad():
            self.up.mul_(factor)
            self.bias.mul_(factor).add_(torch.tensor([lean, -lean], device=self.bias.device))

    def dense(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) as if the dials acted on every token: the dials over their sum."""
        dials = self.dials(layer, hidden)
        weights = dials.new_zeros(*dials.shape[:2], len(self.experts))
        weights[..., -2:] = dials / dials.sum(-1, keepdim=True).clamp_min(1e-6)
        return weights

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G): the dials over their sum. Before the lead and after the guard the base is alone."""
        batch, tokens, _ = hidden.shape
        plain = torch.zeros(len(self.experts), device=hidden.device)
        plain[0] = 1.0
        answers = [run.prompt_tokens - run.read for run in runs]
        if self.guard >= 0 and max(answers) + self.guard <= 0:
            return plain.expand(batch, tokens, -1)
        places = torch.arange(tokens, device=hidden.device)
        begins = torch.tensor(answers, device=hidden.device).unsqueeze(1)
        under = torch.ones(batch, tokens, dtype=torch.bool, device=hidden.device)
        if self.lead >= 0:
            under &= places >= begins - self.lead
        if self.guard >= 0:
            under &= places < begins + self.guard
        return torch.where(under.unsqueeze(-1), self.dense(layer, hidden, runs), plain)


@router(
    "mogu",
    title="MoGU: usable and safe dials",
    level="gate",
    paper="arXiv:2405.14488",
    trained_from="harmful requests with refusals, and all experts' data as harmless; base and adapters frozen",
)
class Mogu(GateRouter):
    """The router of `DialGate`. Its parameters are two dials per layer."""

    class Options(RouterOptions):
        """Where the dials act, and how large they are."""

        guard: int = Field(5, ge=-1, le=4096, description="answer tokens on which the dials act; -1 is all")
        lead: int = Field(5, ge=-1, le=4096, description="last prompt tokens on which the dials act; -1 is all")
        bottleneck: int = Field(64, ge=1, le=1024, description="inner width of a dial", json_schema_extra=fitted())

    options: Options
    gate: DialGate

    def build(self) -> DialGate:
        """Return untrained dials, which are both at one half."""
        return DialGate(self.experts, self.layers, self.width, **self.options.model_dump())
