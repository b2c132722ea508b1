"""MoGU: the dials learn (usable, safe) = (1, 0) or (0, 1) by mean squared error, on kept hidden states.

Source: arXiv:2405.14488. Under its own expert a token's hidden state would tell the dials which of the two is at work,
which they have yet to decide; far into an answer its words would tell as well. So they learn from the even mix of both,
where answers begin. Steps through the model, with the paper's answer loss and twice that error, made them tell worse.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.mogu import SAFE, Mogu

HARMFUL = ("refusals", "contrast", "behaviours")
# LEAN is in logits. Chosen on prompts that nothing is trained on: 40 harmful ones and 32 that only look so, written for
# the project, and the validation rows of refusals. Of the settings that decline at most one in sixteen of the 32, this
# one declines the most of the rest.
SHARPER, LEAN = 4.5, 0.5


@gate_recipe("mogu")
class MoguRecipe(GateRecipe[Mogu]):
    """No steps through the model."""

    plan = GatePlan(
        steps=0,
        hard_steps=1200,
        hard_rate=1e-3,
        decay=0.1,
        rate=1e-3,
        own=2.0,
        rows=400,
        even_states=True,
        near_answer=True,
        max_tokens=112,
    )

    def rows(self, expert: str, plan: GatePlan) -> int:
        """Return most of the safe expert's mix, which holds both kinds; a few of each other field, all harmless."""
        return 3 * plan.rows if expert == SAFE else plan.rows // 5

    def draws(self, expert: str) -> int:
        """Return eight for the safe expert's mix: half of each batch."""
        return 8 if expert == SAFE else 1

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """Return the base as the usable variant, and the safe one."""
        return ("base", SAFE)

    def owner(self, expert: str, task: str) -> str:
        """Return the safe variant for refusals, the usable one for everything else."""
        return SAFE if task in HARMFUL else "base"

    def own_loss(self, weights: Tensor, owners: Tensor) -> Tensor:
        """Return the mean squared error of the normalised dials to one-hot."""
        return (weights - torch.nn.functional.one_hot(owners, weights.shape[-1])).pow(2).mean()

    def settle(self, router: Mogu) -> None:
        """Make the dials sharper, and lean them a little to the usable variant."""
        router.gate.sharpen(SHARPER, LEAN)
