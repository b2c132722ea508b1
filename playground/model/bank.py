"""Build the bank: the base model with all experts stacked beside it.

Every linear module of a layer stands in a site. Building a bank also lets the attention be observed, and lets layers
decode single tokens quickly.
"""

import re
from collections.abc import Sequence
from typing import cast

from torch import nn

from playground.model.adapters import Adapter
from playground.model.attention import observe_attention
from playground.model.int8 import Product, install_head
from playground.model.linear_modules import LAYER, is_routable
from playground.model.lora import RoutedLinear, Site
from playground.model.quick import quicken

SHARED_INPUT: tuple[tuple[str, ...], ...] = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


class Bank:
    """Hold the base and all LoRA experts stacked beside it. `names[0]` is 'base', which adds nothing.

    With `int8`, products of few rows use int8 weights, those of the output embedding too. See `model/int8.py`.
    """

    def __init__(self, model: nn.Module, *, int8: bool = False) -> None:
        self.model = model
        self.names: tuple[str, ...] = ("base",)
        self.sites = _install(model, int8=int8)
        self.head = install_head(model) if int8 else None
        observe_attention(model)
        quicken(model)

    def stack(self, adapters: Sequence[Adapter]) -> None:
        """Make `adapters` the experts of the bank. Raise ValueError for an adapter of a module that is in no site."""
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
        """Return every product that may use int8."""
        found = [product for site in self.sites for product in site.products]
        return found if self.head is None else [*found, self.head.product]

    def __len__(self) -> int:
        return len(self.names)


def _shared_input(leaf: str) -> tuple[str, ...]:
    """Return the names of the modules that read the same input as `leaf`, `leaf` included."""
    for names in SHARED_INPUT:
        if leaf in names:
            return names
    return (leaf,)


def _install(model: nn.Module, *, int8: bool) -> list[Site]:
    """Replace the linear modules of every layer by routed ones, grouped by shared input. Return the sites in model
    order.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, nn.Linear]]] = {}
    for path, module in model.named_modules():
        if is_routable(model, path, module):
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
