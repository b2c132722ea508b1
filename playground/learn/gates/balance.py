"""Measure how evenly a gate uses its experts. These balance terms are added to the answer loss, and reported.

p̄ is an expert's mean probability, f̄ its share of the top-k assignments. Source: Switch Transformer, arXiv:2101.03961,
eq. 4 to 6, for any k.
"""

from torch import Tensor

from playground.routers.parts import keep_top


def balance_terms(dense: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (balance, entropy, use) of probabilities (N, G).

    Balance is G Σ p̄ f̄. It is 1 when all experts are used evenly, and G / k when the same k take all. f̄ carries no
    gradient. Entropy is the mean over tokens, in nats. Use (G,) is the mean probability of each expert.
    """
    experts = dense.shape[-1]
    chosen = (keep_top(dense.detach(), top_k) > 0).float()
    load = chosen.sum(0) / chosen.sum()
    use = dense.mean(0)
    entropy = -(dense * dense.clamp_min(1e-9).log()).sum(-1).mean()
    return experts * (use * load).sum(), entropy, use
