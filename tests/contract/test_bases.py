"""Every base model that was tried keeps the contract: its own tokens, alone and beside others, and adapters as in PEFT.

The table of playground/docs/results/base-models.md is what these tests find.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from playground.core.values import Sampling
from playground.errors import ArtefactError
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row
from playground.model.linear_modules import adaptable
from playground.model.reading import new_state, read
from playground.model.routing import Routing, RowRouting, forward
from playground.model.sampling import Sampler
from tests import bases

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
REFUSED = {"xlnet"}
NO_MODULES = {"gpt2", "gpt_bigcode", "bert", "ctrl"}  # without linear modules that experts can change
LONG, SHORT = "Tell me about the long river Nile and its many floods, please, in a few words.", "Hi"
STEPS, LEAVES = 24, 10


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices are quicker with one thread, above all beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@torch.inference_mode()
def of_library(base: LanguageModel, ids: list[int]) -> list[int]:
    """Return what the library's own `generate` writes."""
    prompt = torch.tensor([ids])
    made = base.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=STEPS,
        min_new_tokens=STEPS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=2,
    )
    return list(made[0, len(ids) :].tolist())


ORDERS = [(kind, (LONG, SHORT)) for kind in sorted(set(bases.architectures()) - REFUSED)]
# a longer prompt that joins: the kinds whose layers keep less than everything
ORDERS += [
    (kind, (SHORT, LONG)) for kind in ("llama", "mistral_sliding", "gemma3", "gpt_oss", "llama4", "mamba2", "lfm2")
]


@pytest.mark.parametrize(("kind", "order"), ORDERS)
def test_tokens_are_the_librarys_while_others_join_and_leave(kind: str, order: tuple[str, str], tokenizer: Any) -> None:
    base = bases.build(kind, tokenizer)
    expected = [of_library(base, base.chat_ids(text)) for text in order]
    base, bank = bases.tried(base)
    plain = RowRouting(constant=torch.tensor([1.0]))
    rows = [Row(base.chat_ids(text), plain, Sampler(GREEDY, base.vocabulary)) for text in order]
    starts = [len(row.ids) for row in rows]
    batch = Batch(base, bank)
    batch.join(rows[0])
    for _ in range(4):
        batch.step()
    batch.join(rows[1])
    for _ in range(LEAVES):
        batch.step()
    batch.leave(rows[0])
    while len(rows[1].ids) < starts[1] + STEPS:
        batch.step()
    for row, start, wanted in zip(rows, starts, expected, strict=True):
        assert row.ids[start:] == wanted[: len(row.ids) - start]


def adapted(kind: str, tokenizer: Any, targets: list[str]) -> Any:
    """Return the base with a LoRA of PEFT on these modules."""
    return get_peft_model(bases.build(kind, tokenizer).model, LoraConfig(r=3, lora_alpha=5, target_modules=targets))


@pytest.mark.parametrize("kind", sorted(set(bases.architectures()) - REFUSED - NO_MODULES))
def test_an_adapter_computes_what_peft_computes(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(3)
    targets = list(adaptable(bases.build(kind, tokenizer).model))
    if kind in {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}:
        targets = [path for path in targets if not path.endswith("out_proj")]  # PEFT refuses it there
    model = adapted(kind, tokenizer, targets)
    if model.peft_config["default"].target_parameters:  # PEFT has taken names of some modules for those of experts
        model = adapted(kind, tokenizer, [path for path in targets if "mlp" not in path])
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path)
    base = bases.build(kind, tokenizer)
    ids = torch.tensor([base.chat_ids(LONG)])
    with torch.inference_mode():
        expected = model(input_ids=ids, use_cache=False).logits
        without = base.model(input_ids=ids, use_cache=False).logits
        base, bank = bases.tried(base)
        bank.stack([read_adapter(tmp_path, "one", base.model)])
        call = Routing([RowRouting(constant=torch.tensor([0.0, 1.0]))], len(bank))
        made = forward(base.model, call, ids, use_cache=False).logits
    assert float((expected - without).abs().max()) > 1e-2
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_base_that_cannot_be_used_is_refused_with_the_reason(kind: str, tokenizer: Any) -> None:
    with pytest.raises(ArtefactError, match="cannot be used here: ") as caught:
        bases.tried(bases.build(kind, tokenizer))
    assert "PLAYGROUND_BASE_MODEL" in caught.value.remedy


def test_the_page_has_what_was_found(tokenizer: Any) -> None:
    assert bases.PAGE.read_text("utf-8") == bases.page(tokenizer), "write it anew: python -m tests.bases"


SEEN = [
    kind
    for kind, values in bases.architectures().items()
    if kind not in {"xlnet", "bert", "ctrl"} and values.get("num_attention_heads", values.get("n_head"))
]


@pytest.mark.parametrize("kind", SEEN)
def test_attention_is_the_librarys_also_behind_a_window(kind: str, tokenizer: Any) -> None:
    """What a layer cannot see has no weight, in one pass and in pieces."""
    base, bank = bases.tried(bases.build(kind, tokenizer))
    if not base.support.attention:
        pytest.skip("its attention cannot be seen, and the page says so")
    plain = bases.build(kind, tokenizer)
    plain.model.set_attn_implementation("eager")
    ids = base.chat_ids(LONG)
    with torch.inference_mode():
        output = plain.model(input_ids=torch.tensor([ids]), output_attentions=True, use_cache=False)
        for piece in sorted({0, base.support.piece and 7}):
            maps = maps_of(replace(base, support=replace(base.support, piece=piece)), bank, ids)
            told = output.attentions  # a hybrid tells all its layers, or only those with attention
            wanted = [told[layer] for layer in sorted(maps)] if len(told) == base.layers else told
            for layer, attention in zip(sorted(maps), wanted, strict=True):
                torch.testing.assert_close(maps[layer], attention[0].float(), atol=1e-4, rtol=0)


def maps_of(base: LanguageModel, bank: Bank, ids: list[int]) -> dict[int, torch.Tensor]:
    """Return the attention (H, T, T) of each layer that has it, read as the base reads a text."""
    row = RowRouting(constant=torch.tensor([1.0]))
    maps: dict[int, torch.Tensor] = {}

    def make(start: int) -> Routing:
        def attended(layer: int, first: int, attention: torch.Tensor) -> None:
            whole = maps.setdefault(layer, torch.zeros(attention.shape[1], len(ids), len(ids)))
            at = start + first
            whole[:, at : at + attention.shape[2], : attention.shape[3]] = attention[0]

        return Routing([row], len(bank), on_attention=attended)

    deque(read(new_state(base), row, bank, ids, make=make, take=lambda *_: None))
    return maps
