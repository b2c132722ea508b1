"""Multiply matrices with int8 weights for few rows, where reading the weights takes most of the time.

Only weights are int8, with one scale for each row. A weight is off by at most half a step of the largest of its row.
The kernel is quick with bfloat16 inputs only. It works on four rows at a time, and from six rows on bfloat16 weights
are quicker: hence MOST_ROWS. Both formats are kept, at half as much memory again, and each call chooses. A long prompt
is therefore read with the bfloat16 weights. `bench decode` measures what int8 does to answers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_ROWS = 5
WIDTH_STEP = 16  # the kernel reads sixteen inputs at a time, also beyond the end


class Product:
    """Compute x (M, d_in) -> x weightᵀ + bias (M, d_out). `values` and `scales` are the int8 weight, or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, int8: bool = False) -> None:
        self.weight = weight
        self.bias = bias
        # only a measurement changes it, to score a whole text in int8 as decoding would
        self.most_rows = MOST_ROWS
        self.values: Tensor | None = None
        self.scales: Tensor | None = None
        width = weight.shape[1]
        if int8 and weight.dtype == torch.bfloat16 and width > 0 and width % WIDTH_STEP == 0:
            self.values, self.scales = quantised(weight)

    def is_quick(self, rows: Tensor) -> bool:
        """Return whether `rows` would be multiplied in int8: they are few and need no gradient."""
        return self.values is not None and rows.shape[0] <= self.most_rows and not rows.requires_grad

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the product: in int8 where that is quick, else in the format of the weight."""
        if self.values is None or self.scales is None or not self.is_quick(rows):
            return functional.linear(rows, self.weight, self.bias)
        product = torch._weight_int8pack_mm(rows, self.values, self.scales)
        return product if self.bias is None else product + self.bias

    def first(self, count: int) -> "Product":
        """Return the product with the first `count` rows of the weight, in the same memory."""
        part = Product(self.weight[:count], None if self.bias is None else self.bias[:count])
        if self.values is not None and self.scales is not None:
            part.values, part.scales = self.values[:count], self.scales[:count]
        return part


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return `weight` (d_out, d_in) as int8 values and a bfloat16 scale (d_out,) for each row.

    The scale is rounded before the values, so that its own error does not shift a whole row.
    """
    wide = weight.float()
    scales = (wide.abs().amax(dim=1).clamp_min(1e-12) / 127).to(torch.bfloat16)
    values = (wide / scales.float().unsqueeze(1)).round().clamp(-127, 127).to(torch.int8).contiguous()
    return values, scales


def balanced(down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (r, d_in) and B (d_out, r) with the same product. The largest entry of each column of B is 0.5 to 1.

    In int8 the columns of B share a step, although they belong to different experts. The rows of A have their own
    steps. A power of two moves from one to the other, so nothing is rounded.
    """
    factor = torch.exp2(up.abs().amax(dim=0).frexp().exponent.float())
    return down * factor.unsqueeze(1), up / factor


class Head(nn.Module):
    """Replace the output embedding of the model, which is its largest product."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach()
        self.product = Product(linear.weight.detach(), bias, int8=True)

    @property
    def weight(self) -> Tensor:
        """Return the weight (V, d), for code that asks an output embedding for it."""
        return self.product.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (B, T, V) for (B, T, d)."""
        return self.product(hidden.reshape(-1, hidden.shape[-1])).view(*hidden.shape[:-1], -1)


def install_head(model: Any) -> Head | None:
    """Put a `Head` in the place of the output embedding. Return None when the output embedding is not linear."""
    linear = model.get_output_embeddings()
    if not isinstance(linear, nn.Linear):
        return None
    path = next(path for path, module in model.named_modules() if module is linear)
    head = Head(linear)
    model.set_submodule(path, head)
    return head
