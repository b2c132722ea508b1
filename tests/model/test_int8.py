"""int8 weights: the product itself, when it is used, and that a model with them stays near the one without."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from playground.core.values import Sampling
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, choose_dtype, load_base
from playground.model.decode import Batch, Row
from playground.model.int8 import MOST_ROWS, Head, Product, balanced, quantised
from playground.model.routing import Routing, RowRouting, routed
from playground.model.sampling import Sampler


def random_weight(d_out: int, d_in: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(d_out, d_in, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


@pytest.mark.parametrize("rows", [1, 3, MOST_ROWS])
@pytest.mark.parametrize("shape", [(5, 16), (31, 48), (96, 112)])
def test_the_product_is_that_of_the_dequantised_weight(rows: int, shape: tuple[int, int]) -> None:
    weight, hidden = random_weight(*shape), random_weight(rows, shape[1], seed=1)
    product = Product(weight, int8=True)
    assert product.values is not None
    assert product.scales is not None
    expected = hidden.double() @ (product.values.double() * product.scales.double().unsqueeze(1)).T
    # the result is rounded to bfloat16: 8 bits
    torch.testing.assert_close(product(hidden).double(), expected, rtol=2**-8, atol=2**-8)
    half = product.first(shape[0] // 2)
    assert torch.equal(half(hidden), product(hidden)[:, : shape[0] // 2])


def test_a_weight_is_off_by_at_most_half_a_step() -> None:
    weight = random_weight(64, 80) * torch.logspace(-4, 2, 64).unsqueeze(1)
    weight[3] = 0
    values, scales = quantised(weight.to(torch.bfloat16))
    error = (values.float() * scales.float().unsqueeze(1) - weight.to(torch.bfloat16).float()).abs()
    # the largest of a row may lie above 127 steps by the rounding of the scale, 1 part in 256
    assert bool((error <= 0.51 * scales.float().unsqueeze(1)).all())
    assert bool((values[3] == 0).all())


def test_balancing_changes_no_product_and_saves_the_small() -> None:
    """One expert's B may be a thousand times another's."""
    maker = torch.Generator().manual_seed(4)
    down, up = torch.randn(4, 16, generator=maker), torch.randn(24, 4, generator=maker)
    up *= torch.tensor([1000.0, 1.0, 0.001, 0.0])
    after = balanced(down, up)
    assert torch.equal(after[1] @ after[0], up @ down)
    largest = after[1].abs().amax(dim=0)
    assert bool(((largest[:3] >= 0.5) & (largest[:3] <= 1)).all())
    assert largest[3] == 0


def test_more_rows_use_the_weight_as_it_is() -> None:
    weight, bias = random_weight(24, 32), random_weight(1, 24, seed=2)[0]
    product = Product(weight, bias, int8=True)
    for rows in (1, MOST_ROWS, MOST_ROWS + 1, 40):
        hidden = random_weight(rows, 32, seed=3)
        plain = functional.linear(hidden, weight, bias)
        assert torch.equal(product(hidden), plain) == (rows > MOST_ROWS)
        torch.testing.assert_close(product(hidden), plain, atol=0.2, rtol=0.02)


@pytest.mark.parametrize("weight", [random_weight(8, 24), random_weight(8, 32).float()])
def test_what_the_kernel_cannot_read_stays_as_it_is(weight: torch.Tensor) -> None:
    """Its inputs must be a multiple of sixteen wide, and in bfloat16."""
    product, hidden = Product(weight, int8=True), torch.ones(1, weight.shape[1], dtype=weight.dtype)
    assert product.values is None
    assert torch.equal(product(hidden), functional.linear(hidden, weight))


def test_gradients_pass_where_they_are_asked_for() -> None:
    hidden = random_weight(1, 32).requires_grad_()
    Product(random_weight(8, 32), int8=True)(hidden).sum().backward()
    assert hidden.grad is not None


def served(folder: Path, adapters: dict[str, Path], *, int8: bool) -> tuple[LanguageModel, Bank]:
    base = load_base(str(folder), choose_dtype("int8"), int8=int8)
    bank = Bank(base.model, int8=base.int8)
    bank.stack([read_adapter(path, name, base.model) for name, path in adapters.items()])
    return base, bank


def logits(base: LanguageModel, bank: Bank, ids: list[int], *, mixed: bool = True) -> torch.Tensor:
    size = len(bank)
    weights = torch.full((size,), 1 / size) if mixed else torch.eye(size)[0]
    with torch.inference_mode(), routed(Routing([RowRouting(constant=weights)], size)):
        found: torch.Tensor = base.model(input_ids=torch.tensor([ids])).logits
    return found.float()


def test_a_model_with_int8_weights_stays_near(tiny_model_folder: Path, adapter_folders: dict[str, Path]) -> None:
    plain = served(tiny_model_folder, adapter_folders, int8=False)
    quick = served(tiny_model_folder, adapter_folders, int8=True)
    assert isinstance(quick[0].model.get_output_embeddings(), Head)
    assert isinstance(plain[0].model.get_output_embeddings(), nn.Linear)
    few, many = [5, 40, 77], list(range(20, 30))
    # a prompt is read as without int8, experts but for the order of their sums
    assert torch.equal(logits(*quick, many, mixed=False), logits(*plain, many, mixed=False))
    prompt = logits(*plain, many)
    assert (logits(*quick, many) - prompt).abs().max() < 0.1 * prompt.std()
    expected = logits(*plain, few)
    difference = (logits(*quick, few) - expected).abs().max()
    assert 0 < difference < 0.2 * expected.std()
    site = quick[1].sites[0]  # three adapters of rank 2, 4 and 3, filled up to what the kernel reads
    assert site.owner is not None
    assert len(site.owner) % 16 == 0
    assert len(site.products) == 3
    assert all(product.values is not None for product in site.products)


def test_decoding_with_int8_weights_gives_tokens(tiny_model_folder: Path, adapter_folders: dict[str, Path]) -> None:
    base, bank = served(tiny_model_folder, adapter_folders, int8=True)
    batch = Batch(base, bank)
    for weights in torch.eye(len(bank)):
        sampler = Sampler(Sampling(temperature=0), base.model.config.vocab_size)
        batch.join(Row(base.chat_ids("one"), RowRouting(constant=weights), sampler))
    assert len(batch.step()) == len(bank)
