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

from playground.model.adapters import LAYER, Adapter
from playground.model.int8 import WIDTH_STEP, Product, balanced, install_head
from playground.model.routing import Routing, current_routing

SHARED_INPUT: tuple[tuple[str, ...], ...] = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


class Site:
    """One group of linear modules with a common input. `weight` (d_outs + R, d_in) holds W of each, then all A.

    `owner` (R,) is the bank index each rank row belongs to, `decides` marks the first site of its layer, where gates
    look. With `int8`, `weight` is also kept in that format for few rows; rank rows that only fill up belong to 0.
    """

    def __init__(
        self, layer: int, paths: Sequence[str], linears: Sequence[nn.Linear], *, decides: bool, int8: bool = False
    ) -> None:
        self.layer = layer
        self.paths = tuple(paths)
        self.decides = decides
        self.int8 = int8
        self.splits = [linear.out_features for linear in linears]
        self.width = sum(self.splits)
        biases = [linear.bias for linear in linears]
        self.bias = torch.cat([b.detach() for b in biases]) if all(b is not None for b in biases) else None
        self._place(torch.cat([linear.weight.detach() for linear in linears]))

    def _place(self, weight: Tensor) -> None:
        """Take `weight` as the matrix, with no expert in it that counts."""
        self.weight = weight
        extra = weight.shape[0] - self.width
        bias = None if self.bias is None else functional.pad(self.bias, (0, extra))
        self.fused = Product(weight, bias, int8=self.int8)
        self.base = self.fused.first(self.width)
        self.owner: Tensor | None = None
        self._spread: Tensor | None = None
        self._ups: list[Tensor] = []
        self.quick_ups: list[Product] = []

    def stack(self, adapters: Sequence[Adapter]) -> None:
        """Put the adapters, bank indices 1 upwards, beside the base weights, replacing those there.

        B stays apart for each module, in float32 and with `int8` also in that: a small product takes 18 µs in bfloat16
        whatever its size, 6 in float32 and 4 in int8, and in one matrix for all modules two thirds would be zeros.
        """
        base = self.weight[: self.width]
        wide = torch.promote_types(base.dtype, torch.float32)
        downs, owners, ups = [], [], []
        for path, size in zip(self.paths, self.splits, strict=True):
            mine = [(i, *adapter.matrices[path]) for i, adapter in enumerate(adapters, 1) if path in adapter.matrices]
            if self.int8 and mine:
                mine = [(i, *balanced(down, up)) for i, down, up in mine]
                fill = -sum(down.shape[0] for _, down, _ in mine) % WIDTH_STEP
                mine.append((0, torch.zeros(fill, base.shape[1]), torch.zeros(size, fill)))
            downs += [down for _, down, _ in mine]
            owners += [i for i, down, _ in mine for _ in range(down.shape[0])]
            ups.append(torch.cat([torch.zeros(0, size), *(up.T for _, _, up in mine)]).to(base.device, wide))
        if not downs:
            if self.owner is not None:
                self._place(base.clone())
            return
        self._place(torch.cat([base, torch.cat(downs).to(base)]))
        self._ups = ups
        self.quick_ups = [Product(up.T.to(base.dtype), int8=True) for up in ups] if self.int8 else []
        self.owner = torch.tensor(owners, device=base.device)
        self._spread = functional.one_hot(self.owner, len(adapters) + 1).float()

    @property
    def up(self) -> Tensor | None:
        """B of all experts, transposed: (R, d_outs), zero where a row is of another module; None without any."""
        return torch.block_diag(*self._ups) if self._ups else None

    def apply(self, hidden: Tensor, routing: Routing | None) -> tuple[Tensor, ...]:
        """(B, T, d_in) -> (B, T, d_out) of each module: the base product plus the weighted experts."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        weights = None if routing is None else routing.decide(self.layer, hidden)
        if routing is None or weights is None or self._spread is None or routing.is_base_only:
            parts: Sequence[Tensor] = self.base(rows).split(self.splits, dim=1)
        else:
            *bases, low = self.fused(rows).split([*self.splits, len(self._spread)], dim=1)
            share = functional.linear(weights.float(), self._spread).expand(*hidden.shape[:-1], -1)
            parts = self._mixed(bases, low * share.reshape(low.shape))
        return tuple(part.view(*hidden.shape[:-1], -1) for part in parts)

    def _mixed(self, bases: Sequence[Tensor], low: Tensor) -> list[Tensor]:
        """Each module's base (M, d_out) plus its experts' part of the weighted A x, `low` (M, R), in float32."""
        ranks = [len(up) for up in self._ups]
        if self.quick_ups and self.quick_ups[0].is_quick(low):
            lows = low.to(bases[0].dtype).split(ranks, dim=1)
            return [
                base + up(mine.contiguous()) if rank else base
                for base, mine, up, rank in zip(bases, lows, self.quick_ups, ranks, strict=True)
            ]
        return [
            torch.addmm(base.to(low.dtype), mine, up).to(base.dtype) if rank else base
            for base, mine, up, rank in zip(bases, low.split(ranks, dim=1), self._ups, ranks, strict=True)
        ]


class RoutedLinear(nn.Module):
    """Stands in the model for one linear module of a site; the first one asked computes for all."""

    def __init__(self, site: Site, index: int, in_features: int) -> None:
        super().__init__()
        self.site = site
        self.index = index
        self.routed_shape = (site.splits[index], in_features)
        start = sum(site.splits[:index])
        self.rows = slice(start, start + site.splits[index])

    @property
    def weight(self) -> Tensor:
        """The base weight (d_out, d_in), for code that asks a linear module for it."""
        return self.site.weight[self.rows]

    @property
    def bias(self) -> Tensor | None:
        """The base bias (d_out,), if there is one."""
        return None if self.site.bias is None else self.site.bias[self.rows]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out) under the routing of the call."""
        site, routing = self.site, current_routing()
        if len(site.splits) == 1:
            return site.apply(hidden, routing)[0]
        if routing is None:
            return functional.linear(hidden, self.weight, self.bias)
        kept = routing.stash.get(id(site))
        if kept is None or kept[0] is not hidden:
            kept = (hidden, site.apply(hidden, routing))
            routing.stash[id(site)] = kept
        part = kept[1][self.index]
        if self.index == len(site.splits) - 1:
            del routing.stash[id(site)]
        return part


class Bank:
    """The base and all LoRA experts stacked beside it. `names[0]` is 'base', which adds nothing.

    With `int8`, products of few rows use weights in that format, the output embedding's too; see `model/int8.py`.
    """

    def __init__(self, model: nn.Module, *, int8: bool = False) -> None:
        self.model = model
        self.names: tuple[str, ...] = ("base",)
        self.sites = _install(model, int8=int8)
        self.head = install_head(model) if int8 else None

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

    @property
    def products(self) -> list[Product]:
        """Every product that may use int8."""
        found = [product for site in self.sites for product in (site.base, site.fused, *site.quick_ups)]
        return found if self.head is None else [*found, self.head.product]

    def __len__(self) -> int:
        return len(self.names)


def _shared_input(leaf: str) -> tuple[str, ...]:
    """The names of the modules that read the same input as `leaf`, itself included."""
    for names in SHARED_INPUT:
        if leaf in names:
            return names
    return (leaf,)


def _install(model: nn.Module, *, int8: bool) -> list[Site]:
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
        paths, linears = [path for path, _ in members], [linear for _, linear in members]
        site = Site(layer, paths, linears, decides=layer not in seen, int8=int8)
        seen.add(layer)
        for index, (path, linear) in enumerate(members):
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, RoutedLinear(site, index, linear.in_features))
        sites.append(site)
    return sites
