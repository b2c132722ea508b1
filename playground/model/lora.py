"""Stack LoRA experts: all experts of a bank cost two matrix products for each site, whatever their number.

A *site* is a group of linear modules of one layer that read the same input (q, k, v share one; so do gate and up). Base
weights W and all experts' A stand in one matrix, so a site costs one product for W x and A x together, and one for B:

    y = W x + B ((w ⊗ 1_r) ⊙ (A x))        with alpha / r already in B

Source: LoRA arXiv:2106.09685; the mixture is eq. "serial attention routing" of LoRA-Mixer arXiv:2507.00029.
Works on the named linear projections of any architecture the library loads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from playground.model.adapters import Adapter
from playground.model.int8 import WIDTH_STEP, Product, balanced
from playground.model.routing import Routing, current_routing


class Site:
    """Hold a group of linear modules with a common input.

    `weight` (d_outs + R, d_in) holds W of each module, then all A. `owner` (R,) is the bank index of each rank row.
    `decides` marks the first site of its layer, where gates look. With `int8`, `weight` is also kept in int8 for few
    rows. Rank rows that only fill up belong to 0.
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
        self.bias: Tensor | None = None
        if any(linear.bias is not None for linear in linears):
            none = [linear.weight.new_zeros(linear.out_features) for linear in linears]
            biases = [
                zero if linear.bias is None else linear.bias.detach()
                for linear, zero in zip(linears, none, strict=True)
            ]
            self.bias = torch.cat(biases)
        self._place(torch.cat([linear.weight.detach() for linear in linears]))

    def _place(self, weight: Tensor) -> None:
        """Take `weight` as the matrix. No expert in it counts yet."""
        self.weight = weight
        extra = weight.shape[0] - self.width
        bias = None if self.bias is None else functional.pad(self.bias, (0, extra))
        self.fused = Product(weight, bias, int8=self.int8)
        self.base = self.fused.first(self.width)
        self.owner: Tensor | None = None
        self._spread: Tensor | None = None
        self._up: Product | None = None

    def stack(self, adapters: Sequence[Adapter]) -> None:
        """Put the adapters, bank indices 1 upwards, beside the base weights. They replace those that were there.

        B of all modules is one matrix, although two thirds of it are zeros: a call costs more than the weights do.
        """
        base = self.weight[: self.width]
        downs, owners, ups = [], [], []
        for path, size in zip(self.paths, self.splits, strict=True):
            mine = [(i, *adapter.matrices[path]) for i, adapter in enumerate(adapters, 1) if path in adapter.matrices]
            if self.int8 and mine:
                mine = [(i, *balanced(down, up)) for i, down, up in mine]
                fill = -sum(down.shape[0] for _, down, _ in mine) % WIDTH_STEP
                mine.append((0, torch.zeros(fill, base.shape[1]), torch.zeros(size, fill)))
            downs += [down for _, down, _ in mine]
            owners += [i for i, down, _ in mine for _ in range(down.shape[0])]
            ups.append(torch.cat([torch.zeros(0, size), *(up.T for _, _, up in mine)]).to(base))
        if not downs:
            if self.owner is not None:
                self._place(base.clone())
            return
        self._place(torch.cat([base, torch.cat(downs).to(base)]))
        self._up = Product(torch.block_diag(*ups).T.contiguous(), int8=self.int8)
        self.owner = torch.tensor(owners, device=base.device)
        self._spread = functional.one_hot(self.owner, len(adapters) + 1).T.float().contiguous()

    @property
    def up(self) -> Tensor | None:
        """Return B of all experts, transposed: (R, d_outs), zero where a row is of another module. Return None without
        any.
        """
        return None if self._up is None else self._up.weight.T

    @property
    def products(self) -> list[Product]:
        """Return the matrix products of the site."""
        return [self.base, self.fused] if self._up is None else [self.base, self.fused, self._up]

    def apply(self, hidden: Tensor, routing: Routing | None) -> tuple[Tensor, ...]:
        """Return (B, T, d_out) of each module for (B, T, d_in): the base product plus the weighted experts.

        Some architectures flatten the tokens first. They get (B T, d_out) for (B T, d_in).
        """
        weights, share = None, None
        if routing is not None and not routing.is_base_only:
            shaped = hidden if hidden.dim() == 3 else hidden.view(len(routing.rows), -1, hidden.shape[-1])
            weights = routing.decide(self.layer, shaped)
            share = self.share(weights)
        if share is not None:
            share = share.expand(*shaped.shape[:-1], -1).flatten(0, -2)
        joint = self.joint(hidden.flatten(0, -2), share)
        return joint.view(*hidden.shape[:-1], -1).split(self.splits, dim=-1)

    def share(self, weights: Tensor | None) -> Tensor | None:
        """Return the weight of each row of A, (..., R) float32, for weights (..., N). Return None when no expert
        counts here.
        """
        if weights is None or self._spread is None:
            return None
        return weights.float() @ self._spread

    def joint(self, rows: Tensor, share: Tensor | None) -> Tensor:
        """Return (M, d_outs) for (M, d_in), all modules beside one another. `share` is (M, R)."""
        if share is None or self._up is None:
            return self.base(rows)
        base, low = torch.split_with_sizes(self.fused(rows), [self.width, share.shape[-1]], dim=1)
        return base + self._up((low * share).to(base.dtype))


class RoutedLinear(nn.Module):
    """Replace one linear module of a site. The first module of the site that is asked computes for all."""

    def __init__(self, site: Site, index: int, in_features: int) -> None:
        super().__init__()
        self.site = site
        self.index = index
        self.routed_shape = (site.splits[index], in_features)
        start = sum(site.splits[:index])
        self.rows = slice(start, start + site.splits[index])

    @property
    def weight(self) -> Tensor:
        """Return the base weight (d_out, d_in), for code that asks a linear module for it."""
        return self.site.weight[self.rows]

    @property
    def bias(self) -> Tensor | None:
        """Return the base bias (d_out,), if there is one."""
        return None if self.site.bias is None else self.site.bias[self.rows]

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (B, T, d_out) for (B, T, d_in), under the routing of the call."""
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
