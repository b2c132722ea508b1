"""Read every training row once and keep its hidden states, so that gates can learn from them without the model."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from playground.learn.gates.data import Owned
from playground.learn.gates.recipe import GatePlan
from playground.learn.losses import padded
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, routed
from playground.routers.base import Gate, GateRun

KEPT_TOKENS = 32
NEAR_TOKENS = 5  # on either side of an answer's first token
BATCH = 16


class CollectingGate(Gate):
    """Routes by `routes` (B, T, G), and keeps the normed hidden states that gates see at the places `kept` (B, K)."""

    def __init__(self, experts: Sequence[str], routes: Tensor, kept: Tensor) -> None:
        super().__init__()
        self.experts = tuple(experts)
        self.routes = routes
        self.kept = kept
        self.hidden: list[Tensor] = []

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, G), which are the same in every layer."""
        index = self.kept.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        self.hidden.append(hidden.gather(1, index))
        return self.routes


@dataclass(frozen=True, eq=False)
class States:
    """Hidden states (L, R, K, d) at K positions of R rows, the owners (R, K) of those tokens, and the rows."""

    hidden: Tensor
    owners: Tensor
    rows: Sequence[Owned]


@torch.no_grad()
def kept_states(
    base: LanguageModel,
    bank: Bank,
    rows: Sequence[Owned],
    *,
    plan: GatePlan,
    experts: Sequence[str],
    owners: Callable[[Owned], Sequence[int]],
) -> States:
    """Return the states of each row, shorter rows first, for a gate over `experts`.

    `owners` gives the gate's index of each token's expert. The plan says at which positions states are kept, and how
    the tokens are routed meanwhile.
    """
    count = 2 * NEAR_TOKENS if plan.near_answer else KEPT_TOKENS
    chooser = random.Random(plan.seed)
    hidden, owned_by, kept_rows = [], [], []
    ordered = sorted(rows, key=lambda owned: len(owned.example.ids))
    for start in range(0, len(ordered), BATCH):
        part = ordered[start : start + BATCH]
        ids, _ = padded([owned.example for owned in part], base.model.device)
        bank_owners = torch.zeros_like(ids)
        places = torch.zeros(len(part), count, dtype=torch.long, device=ids.device)
        for i, owned in enumerate(part):
            bank_owners[i, : len(owned.owners)] = torch.tensor(owned.owners)
            drawn = sorted(chooser.choices(_keepable(owned, plan), k=count))
            places[i] = torch.tensor(drawn)
            mine = owners(owned)
            owned_by.append(torch.tensor([mine[place] for place in drawn]))
        routes = _routes(bank_owners, bank, experts, plan)
        if plan.near_answer:
            routes = near_alone(routes, part)
        collector = CollectingGate(bank.names, routes, places)
        runs = [GateRun(owned.example.start) for owned in part]
        with routed(Routing([RowRouting(gate=collector, run=run) for run in runs], len(bank))):
            base.model.get_decoder()(input_ids=ids, use_cache=False)
        hidden.append(torch.stack(collector.hidden))
        kept_rows += part
    return States(torch.cat(hidden, dim=1), torch.stack(owned_by), kept_rows)


def _keepable(owned: Owned, plan: GatePlan) -> range:
    """Return the positions whose hidden states may be kept."""
    return _near_answer(owned) if plan.near_answer else range(len(owned.owners))


def _near_answer(owned: Owned) -> range:
    """Return the positions around the first token of the row's answer."""
    start = owned.example.start
    return range(max(0, start - NEAR_TOKENS), min(len(owned.owners), start + NEAR_TOKENS))


def near_alone(routes: Tensor, rows: Sequence[Owned]) -> Tensor:
    """Return `routes` (B, T, N) where answers begin, and the plain base elsewhere."""
    found = torch.zeros_like(routes)
    found[..., 0] = 1.0
    for i, owned in enumerate(rows):
        near = _near_answer(owned)
        found[i, near.start : near.stop] = routes[i, near.start : near.stop]
    return found


def _routes(owners: Tensor, bank: Bank, experts: Sequence[str], plan: GatePlan) -> Tensor:
    """Return weights (B, T, N) over the bank: each token's own expert, or the even mix of `experts`."""
    size = len(bank)
    if not plan.even_states:
        return torch.nn.functional.one_hot(owners, size).float()
    mine = torch.tensor([float(name in experts) for name in bank.names], device=owners.device)
    return (mine / mine.sum()).expand(*owners.shape, size)
