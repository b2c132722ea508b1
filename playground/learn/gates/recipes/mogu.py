"""MoGU: the dials learn (usable, safe) = (1, 0) or (0, 1) by mean squared error, on kept hidden states.

Source: arXiv:2405.14488. The hidden states come from the even mix of both variants, near the beginning of answers.
Under a token's own expert, the state would already give away the choice that the dials must make. Later words of an
answer would give it away too. Steps through the model, with the paper's answer loss and twice that error, made the
dials worse.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.mogu import SAFE, Mogu

HARMFUL = ("refusals", "contrast", "behaviours")
# LEAN is in logits. Both were chosen on prompts that nothing is trained on: 40 harmful ones and 32 that only look
# harmful, written for the project, and the validation rows of refusals. Of the settings that decline at most 2 of the
# 32, this one declines the most of the others.
SHARPER, LEAN = 4.5, 0.5


@gate_recipe("mogu")
class MoguRecipe(GateRecipe[Mogu]):
    """A recipe with steps on kept hidden states only."""

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
        """Return many for the safe expert's mix, which holds both kinds, and few for each other, which is harmless."""
        return 3 * plan.rows if expert == SAFE else plan.rows // 5

    def draws(self, expert: str) -> int:
        """Return eight for the safe expert's mix, which makes about half of a batch."""
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
        """Sharpen the dials, and lean them a little to the usable variant."""
        router.gate.sharpen(SHARPER, LEAN)
