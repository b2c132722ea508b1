"""Matrix products with weights in int8 for few rows, where reading the weights is what takes the time.

Weights only, one scale a row: a weight is off by at most half a step of its row's largest. Quick with bfloat16 inputs
only, and only up to MOST_ROWS rows: the kernel works on four at a time, and from six on bfloat16 weights are quicker.
So both are kept, at half as much memory again, and each call chooses. A long prompt is therefore read with the
bfloat16 weights; what int8 does to answers is measured by `bench decode`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_ROWS = 5
WIDTH_STEP = 16  # the kernel reads inputs sixteen at a time, beyond the end of others


class Product:
    """x (M, d_in) -> x weightᵀ + bias (M, d_out). `values` and `scales` are the weight in int8, None without it."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, int8: bool = False) -> None:
        self.weight = weight
        self.bias = bias
        # only a measurement changes it: with any number of rows in int8, a text can be scored as decoding would
        self.most_rows = MOST_ROWS
        self.values: Tensor | None = None
        self.scales: Tensor | None = None
        width = weight.shape[1]
        if int8 and weight.dtype == torch.bfloat16 and width > 0 and width % WIDTH_STEP == 0:
            self.values, self.scales = quantised(weight)

    def is_quick(self, rows: Tensor) -> bool:
        """Whether `rows` would be multiplied in int8: they are few and need no gradient."""
        return self.values is not None and rows.shape[0] <= self.most_rows and not rows.requires_grad

    def __call__(self, rows: Tensor) -> Tensor:
        """The product, in int8 where that is quick, else in the format of the weight."""
        if self.values is None or self.scales is None or not self.is_quick(rows):
            return functional.linear(rows, self.weight, self.bias)
        product = torch._weight_int8pack_mm(rows, self.values, self.scales)
        return product if self.bias is None else product + self.bias

    def first(self, count: int) -> "Product":
        """The product with the first `count` rows of the weight, in the same memory."""
        part = Product(self.weight[:count], None if self.bias is None else self.bias[:count])
        if self.values is not None and self.scales is not None:
            part.values, part.scales = self.values[:count], self.scales[:count]
        return part


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` (d_out, d_in) as int8 values and a bfloat16 scale (d_out,) for each row.

    The scale is rounded before the values are, so that its own error does not shift a whole row.
    """
    wide = weight.float()
    scales = (wide.abs().amax(dim=1).clamp_min(1e-12) / 127).to(torch.bfloat16)
    values = (wide / scales.float().unsqueeze(1)).round().clamp(-127, 127).to(torch.int8).contiguous()
    return values, scales


def balanced(down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """A (r, d_in) and B (d_out, r) with the same product, the largest entry of each of B's columns from 0.5 to 1.

    In int8 the columns of B, which belong to different experts, share a step; the rows of A have their own. What is
    moved between them is a power of two, so that nothing is rounded.
    """
    factor = torch.exp2(up.abs().amax(dim=0).frexp().exponent.float())
    return down * factor.unsqueeze(1), up / factor


class Head(nn.Module):
    """Stands in the model for its output embedding, the largest product of all."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach()
        self.product = Product(linear.weight.detach(), bias, int8=True)

    @property
    def weight(self) -> Tensor:
        """The weight (V, d), for code that asks an output embedding for it."""
        return self.product.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, V)."""
        return self.product(hidden.reshape(-1, hidden.shape[-1])).view(*hidden.shape[:-1], -1)


def install_head(model: Any) -> Head | None:
    """Put a `Head` in the place of the output embedding; None for a model whose output embedding is not linear."""
    linear = model.get_output_embeddings()
    if not isinstance(linear, nn.Linear):
        return None
    path = next(path for path, module in model.named_modules() if module is linear)
    head = Head(linear)
    model.set_submodule(path, head)
    return head
