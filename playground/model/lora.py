"""Stacked LoRA: all experts of a bank in two matrix products per site, whatever their number.

A *site* is a group of linear modules of one layer that read the same input (q, k, v share one; so do gate and up). Base
weights W and all experts' A stand in one matrix, so a site costs one product for W x and A x together, and one for B:

    y = W x + B ((w ⊗ 1_r) ⊙ (A x))        with alpha / r already in B

Source: LoRA arXiv:2106.09685; the mixture is eq. "serial attention routing" of LoRA-Mixer arXiv:2507.00029.
Works on the named linear projections of any architecture the library loads.
"""

import re
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from playground.model.adapters import Adapter
from playground.model.routing import Routing, current_routing

SHARED_INPUT: tuple[tuple[str, ...], ...] = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


class Site:
    """One group of linear modules with a common input. `weight` (d_outs + R, d_in) holds W of each, then all A.

    `up` (R, d_outs) is B transposed, `owner` (R,) the bank index each rank row belongs to, `decides` marks the first
    site of its layer, where gates look.
    """

    def __init__(self, layer: int, paths: Sequence[str], linears: Sequence[nn.Linear], *, decides: bool) -> None:
        self.layer = layer
        self.paths = tuple(paths)
        self.decides = decides
        self.splits = [linear.out_features for linear in linears]
        self.width = sum(self.splits)
        self.weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias for linear in linears]
        self.bias = torch.cat([b.detach() for b in biases]) if all(b is not None for b in biases) else None
        self.up: Tensor | None = None
        self.owner: Tensor | None = None

    def stack(self, adapters: Sequence[Adapter]) -> None:
        """Put the adapters, bank indices 1 upwards, beside the base weights, replacing those there."""
        base = self.weight[: self.width]
        downs, ups, owners = [], [], []
        start = 0
        for path, size in zip(self.paths, self.splits, strict=True):
            for index, adapter in enumerate(adapters, start=1):
                if path in adapter.matrices:
                    down, up = adapter.matrices[path]
                    spread = torch.zeros(down.shape[0], self.width)
                    spread[:, start : start + size] = up.T
                    downs.append(down)
                    ups.append(spread)
                    owners += [index] * down.shape[0]
            start += size
        if not downs:
            self.weight, self.up, self.owner = base.clone(), None, None
            return
        self.weight = torch.cat([base, torch.cat(downs).to(base)])
        self.up = torch.cat(ups).to(base)
        self.owner = torch.tensor(owners, device=base.device)

    def apply(self, hidden: Tensor, routing: Routing | None) -> Tensor:
        """(B, T, d_in) -> (B, T, d_outs): the base products plus the weighted experts."""
        if routing is None:
            return functional.linear(hidden, self.weight[: self.width], self.bias)
        weights = routing.decide(self.layer, hidden) if self.decides or not routing.is_constant else None
        if self.up is None or self.owner is None or routing.is_base_only:
            return functional.linear(hidden, self.weight[: self.width], self.bias)
        if weights is None:
            weights = routing.by_layer[-1]
        product = functional.linear(hidden, self.weight)
        base, low = product[..., : self.width], product[..., self.width :]
        low = low * weights.index_select(-1, self.owner).to(low.dtype)
        mixed = base + low @ self.up if low.shape[1] > 1 or low.shape[0] > 1 else _add_row(base, low, self.up)
        return mixed if self.bias is None else mixed + self.bias


def _add_row(base: Tensor, low: Tensor, up: Tensor) -> Tensor:
    """One token: the product and the sum in one call."""
    return torch.addmm(base.view(1, -1), low.view(1, -1), up).view(base.shape)


class RoutedLinear(nn.Module):
    """Stands in the model for one linear module of a site; the first one asked computes for all."""

    def __init__(self, site: Site, index: int, in_features: int) -> None:
        super().__init__()
        self.site = site
        self.index = index
        self.routed_shape = (site.splits[index], in_features)

    @property
    def weight(self) -> Tensor:
        """The base weight (d_out, d_in), for code that asks a linear module for it."""
        start = sum(self.site.splits[: self.index])
        return self.site.weight[start : start + self.site.splits[self.index]]

    @property
    def bias(self) -> Tensor | None:
        """The base bias (d_out,), if there is one."""
        if self.site.bias is None:
            return None
        start = sum(self.site.splits[: self.index])
        return self.site.bias[start : start + self.site.splits[self.index]]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out) under the routing of the call."""
        site, routing = self.site, current_routing()
        if len(site.splits) == 1:
            return site.apply(hidden, routing)
        if routing is None:
            return functional.linear(hidden, self.weight, self.bias)
        kept = routing.stash.get(id(site))
        if kept is None or kept[0] is not hidden:
            kept = (hidden, torch.split(site.apply(hidden, routing), site.splits, dim=-1))
            routing.stash[id(site)] = kept
        part = kept[1][self.index]
        if self.index == len(site.splits) - 1:
            del routing.stash[id(site)]
        return part


class Bank:
    """The base and all LoRA experts stacked beside it. `names[0]` is 'base', which adds nothing."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names: tuple[str, ...] = ("base",)
        self.sites = _install(model)

    def stack(self, adapters: Sequence[Adapter]) -> None:
        """Make `adapters` the experts of the bank. Raises ValueError for an adapter of a module that is in no site."""
        known = {path for site in self.sites for path in site.paths}
        for adapter in adapters:
            unknown = set(adapter.matrices) - known
            if unknown:
                raise ValueError(f"{adapter.name} adapts {sorted(unknown)[0]}, which is in no layer")
        for site in self.sites:
            site.stack(adapters)
        self.names = ("base", *(adapter.name for adapter in adapters))

    def __len__(self) -> int:
        return len(self.names)


def _shared_input(leaf: str) -> tuple[str, ...]:
    """The names of the modules that read the same input as `leaf`, itself included."""
    for names in SHARED_INPUT:
        if leaf in names:
            return names
    return (leaf,)


def _install(model: nn.Module) -> list[Site]:
    """Replace the linear modules of every layer by routed ones, grouped by shared input; the sites, in model order."""
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, nn.Linear]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and LAYER.search(path):
            parent, _, leaf = path.rpartition(".")
            shared = _shared_input(leaf)
            groups.setdefault((parent, shared), []).append((path, module))
    sites: list[Site] = []
    seen: set[int] = set()
    for (_, shared), members in groups.items():
        members.sort(key=lambda member: shared.index(member[0].rpartition(".")[2]))
        layer = int(cast(re.Match[str], LAYER.search(members[0][0]))[1])
        site = Site(layer, [path for path, _ in members], [linear for _, linear in members], decides=layer not in seen)
        seen.add(layer)
        for index, (path, linear) in enumerate(members):
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, RoutedLinear(site, index, linear.in_features))
        sites.append(site)
    return sites
