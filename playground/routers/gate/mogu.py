"""MoGU: two dials per layer blend a usable and a safe variant of the model for each token where an answer begins.

Source: arXiv:2405.14488. In each layer two small networks read the token and give α (safe) and β (usable); we normalise
them, so that the base's own output is never scaled. The safe variant is the expert `safe`, the usable one the base or
another expert. After `guard` answer tokens the plain model goes on; its cache is kept, where the released code reads
everything again. The paper has all of the prompt under the dials, we its last `lead` tokens: the base reads the rest as
it always does, which is what keeps other tasks as they were. It mixes on the output projection alone, we wherever the
adapter acts.
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
    """`down` (L, 2, b, d), `up` (L, 2, b), `bias` (L, 2): the dials usable and safe of each layer, tanh between.

    Experts are the base, the usable one where it is another, and the safe one last.
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
        """Return (B, T, 2) in (0, 1): usable β, safe α."""
        inner = torch.tanh(torch.einsum("btd,nkd->btnk", rms_normed(hidden), self.down[layer]))
        return torch.sigmoid((inner * self.up[layer]).sum(-1) + self.bias[layer])

    def sharpen(self, factor: float, lean: float) -> None:
        """Multiply the dials' logits by `factor`, then lean them to the usable variant, by `lean` logits each."""
        with torch.no_grad():
            self.up.mul_(factor)
            self.bias.mul_(factor).add_(torch.tensor([lean, -lean], device=self.bias.device))

    def dense(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G) as if every token were under the dials: the dials over their sum."""
        dials = self.dials(layer, hidden)
        weights = dials.new_zeros(*dials.shape[:2], len(self.experts))
        weights[..., -2:] = dials / dials.sum(-1, keepdim=True).clamp_min(1e-6)
        return weights

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G): the dials over their sum; the base alone before the lead and after the guard."""
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
    """Parameters are a bottleneck of two dials per layer."""

    class Options(RouterOptions):
        """The guard, and the size of the dials."""

        guard: int = Field(5, ge=-1, le=4096, description="answer tokens under the dials; -1 is all of them")
        lead: int = Field(5, ge=-1, le=4096, description="prompt tokens under the dials, the last ones; -1 is all")
        bottleneck: int = Field(64, ge=1, le=1024, description="inner width of a dial", json_schema_extra=fitted())

    options: Options
    gate: DialGate

    def build(self) -> DialGate:
        """Return untrained dials, both at one half."""
        return DialGate(self.experts, self.layers, self.width, **self.options.model_dump())
