"""Compute the main input directions of the stacked adapters. This needs no data and no training.

Source: Arrow routing, arXiv:2405.11157 (first right singular vector of B A).
"""

import torch
from torch import Tensor

from playground.model.bank import Bank
from playground.model.lora import Site


def factors(site: Site, index: int) -> tuple[Tensor, Tensor] | None:
    """Return (down (r, d_in), up (r, d_outs)) float32 of bank expert `index` at `site`.

    Return None when it adapts nothing there.
    """
    if site.owner is None or site.up is None:
        return None
    rows = site.owner == index
    if not bool(rows.any()):
        return None
    return site.weight[site.width :][rows].float(), site.up[rows].float()


def first_direction(down: Tensor, up: Tensor) -> Tensor:
    """Return the first right singular vector (d_in,) of upᵀ down.

    It uses the QR of upᵀ: O(d r²), without forming the product.
    """
    triangle = torch.linalg.qr(up.T).R
    return torch.linalg.svd(triangle @ down, full_matrices=False).Vh[0]


def input_directions(bank: Bank, width: int) -> Tensor:
    """Return (L, N, d) float32 unit vectors of the sites where gates look; zeros where an expert adapts nothing."""
    deciding = sorted((site for site in bank.sites if site.decides), key=lambda site: site.layer)
    directions = torch.zeros(len(deciding), len(bank), width)
    for place, site in enumerate(deciding):
        for index in range(1, len(bank)):
            found = factors(site, index)
            if found is not None:
                directions[place, index] = first_direction(*found).cpu()
    return directions
