"""What each trainable gate learns from: its schedule, whose token is whose, and the terms added to the answer loss.

p̄ is an expert's mean probability, f̄ its share of the top-k assignments; both are of one layer, averaged over layers.
Sources stand at each objective.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from playground.core.plugins import Plugins
from playground.learn.gates.data import Owned
from playground.routers.base import Gate
from playground.routers.gate.mogu import DialGate
from playground.routers.parts import keep_top

HARMFUL = ("refusals", "contrast", "behaviours")
SAFE = "safe"
# LEAN is in logits. Chosen on prompts on which nothing is trained, 40 harmful and 32 that only look so, written for the
# project, and the validation rows of refusals: of what declines at most one in sixteen of the 32, the most of the rest.
SHARPER, LEAN = 4.5, 0.5
EMOTIONAL = ("emotion", "sentiment")


@dataclass(frozen=True)
class GatePlan:
    """A gate's training: `hard_steps` on kept hidden states (no pass through the model), then `steps` through the
    frozen model, with the objective's rows of each domain and `spliced` two-part ones; `rows` training rows a domain,
    `rate` the peak rate. `even_states` keeps the hidden states under the even mix, not under each token's expert, and
    `near_answer` only where the answer begins; `decay` is the weight decay on them.

    The weights of the terms: `balance` of E Σ p̄ f̄, `entropy` of the mean token entropy in nats, `own` of the
    cross-entropy to the token's own expert.
    """

    steps: int = 60
    hard_steps: int = 0
    rows: int = 80
    spliced: int = 0
    even_states: bool = False
    near_answer: bool = False
    decay: float = 0.0
    rate: float = 1e-2
    hard_rate: float = 3e-2
    answer: float = 1.0
    balance: float = 0.0
    entropy: float = 0.0
    own: float = 0.0
    max_tokens: int = 160
    seed: int = 0


def balance_terms(dense: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """(balance, entropy, use) of probabilities (N, G): E Σ p̄ f̄, mean entropy in nats, mean probabilities (G,).

    The balance is 1 when all experts are used evenly and E / k when one takes all; f̄ carries no gradient.
    """
    experts = dense.shape[-1]
    chosen = (keep_top(dense.detach(), top_k) > 0).float()
    load = chosen.sum(0) / chosen.sum()
    use = dense.mean(0)
    entropy = -(dense * dense.clamp_min(1e-9).log()).sum(-1).mean()
    return experts * (use * load).sum(), entropy, use


class Objective:
    """The default: the owner of a row is its expert; cross-entropy, balance and entropy as the plan weighs them."""

    plan: ClassVar[GatePlan] = GatePlan()

    def rows(self, expert: str, plan: GatePlan) -> int:
        """How many training rows of an expert's mix are read."""
        return plan.rows

    def draws(self, expert: str) -> int:
        """How many rows of an expert's mix are in each batch through the model."""
        return 1

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """The gate's experts, of those in the bank; the base comes first."""
        return tuple(installed)

    def owner(self, expert: str, task: str) -> str:
        """The gate's expert to which a row of `task`, from the mix of `expert`, belongs."""
        return expert

    def memory(self, owned: Owned) -> Mapping[str, Tensor]:
        """What the gate must be told of a training row."""
        return {}

    def settle(self, gate: Gate) -> None:
        """What is done to a gate once it has learnt."""

    def own_loss(self, weights: Tensor, owners: Tensor) -> Tensor:
        """Cross-entropy of weights (N, G) to the tokens' owners (N,), in nats."""
        return -weights.gather(1, owners.unsqueeze(1)).clamp_min(1e-9).log().mean()


OBJECTIVES: Plugins[Objective] = Plugins("gate objective")


class LoraMixerObjective(Objective):
    """Specialization Balance Loss (arXiv:2507.00029): balance plus λ H(p), the sign chosen so that it sharpens each
    token, as the paper's text says and its formula does not; the hard phase is the cross-entropy."""

    plan = GatePlan(steps=20, hard_steps=300, spliced=1, balance=1e-2, entropy=1e-3, own=0.3)


class TopKObjective(Objective):
    """Task loss and load balance alone (Switch Transformer, arXiv:2101.03961 eq. 4 to 6)."""

    plan = GatePlan(steps=60, balance=1e-2)


class XLoraObjective(Objective):
    """Task loss alone (arXiv:2402.07148)."""

    plan = GatePlan(steps=40, rate=5e-3)


class PhatgooseObjective(Objective):
    """Each expert's vector on its own rows (arXiv:2402.05859): row i uses only its expert."""

    plan = GatePlan(steps=30, rate=5e-3)

    def memory(self, owned: Owned) -> Mapping[str, Tensor]:
        """The row's own expert."""
        return {"own": torch.tensor(owned.expert)}


class MoguObjective(Objective):
    """Mean squared error of the dials to (usable, safe) = (1, 0) or (0, 1) (arXiv:2405.14488), on kept hidden states.

    Under its own expert a token's hidden state would tell the dials which of the two is at work, which they have yet
    to decide, and far into an answer so would its words: they learn from the even mix of both, where answers begin.
    Steps through the model, with the paper's answer loss and twice that error, are there but made them tell worse.
    """

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
        """Most of the safe expert's mix, which holds both kinds; a few of each other field, all harmless."""
        return 3 * plan.rows if expert == SAFE else plan.rows // 5

    def draws(self, expert: str) -> int:
        """Half of each batch is the safe expert's mix."""
        return 8 if expert == SAFE else 1

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """The base as the usable variant, and the safe one."""
        return ("base", SAFE)

    def owner(self, expert: str, task: str) -> str:
        """Refusals belong to the safe variant, everything else to the usable one."""
        return SAFE if task in HARMFUL else "base"

    def settle(self, gate: Gate) -> None:
        """Sharper, and leaning a little to the usable variant."""
        if not isinstance(gate, DialGate):
            raise TypeError("MoGU's gate is made of dials")
        gate.sharpen(SHARPER, LEAN)

    def own_loss(self, weights: Tensor, owners: Tensor) -> Tensor:
        """Mean squared error of the normalised dials to one-hot."""
        return (weights - torch.nn.functional.one_hot(owners, weights.shape[-1])).pow(2).mean()


class EmotionQwenObjective(Objective):
    """Answer loss and the cross-entropy to the route (arXiv:2505.06685, third stage)."""

    plan = GatePlan(steps=16, own=0.3, rate=2e-2)

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """The general route and the emotional ones."""
        return ("base", *EMOTIONAL)

    def owner(self, expert: str, task: str) -> str:
        """Everything that is not emotional is general."""
        return expert if expert in EMOTIONAL else "base"


OBJECTIVES.register("lora_mixer", LoraMixerObjective())
OBJECTIVES.register("topk_moe", TopKObjective())
OBJECTIVES.register("xlora", XLoraObjective())
OBJECTIVES.register("phatgoose", PhatgooseObjective())
OBJECTIVES.register("mogu", MoguObjective())
OBJECTIVES.register("emotion_qwen", EmotionQwenObjective())

# LoRA-Mixer's ablation: the balance losses alone, so that nothing else tells the gate whose token is whose.
ABLATION = {
    "none": GatePlan(steps=80),
    "auxiliary": GatePlan(steps=80, balance=1e-2),
    "specialization": GatePlan(steps=80, balance=1e-2, entropy=1e-2),
}


def shortened(plan: GatePlan, steps: int | None) -> GatePlan:
    """`plan` with another number of steps through the model; None leaves it."""
    return plan if steps is None else replace(plan, steps=steps)
