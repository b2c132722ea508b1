"""The likeliest tokens, found a block at a time."""

import pytest
import torch

from playground.model.sampling import likeliest


@pytest.mark.parametrize("size", [7, 300, 2048, 49152])
def test_the_likeliest_are_those_of_a_whole_search(size: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(size))
    values[-5:] = 9 - torch.arange(5)  # all in one block
    top, places = likeliest(values, 5)
    assert torch.equal(top, values.topk(5).values)
    assert torch.equal(values[places], top)
