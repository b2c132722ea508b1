"""Texts of tokens join to what was written, whatever the script and the tokenizer."""

import json
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from playground.model.artefacts import base_folder, is_cached
from playground.model.base import LanguageModel
from playground.model.texts import BROKEN, TextStream, decoded, prompt_texts, token_texts
from playground.settings import Settings
from tests.model.scripts import SCRIPTS

WORDS = "What is the capital of France? Tell me about the river Nile, please. The Nile is a river in Africa."


class Framed(LanguageModel):
    """A tokenizer in its chat template, without a model."""

    max_tokens = 10_000

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(model=None, tokenizer=tokenizer, name="none", dtype=torch.float32)


def byte_level(*, prefix: bool = False) -> PreTrainedTokenizerFast:
    """Like GPT-2's: bytes, merged into words and into parts of characters. `prefix`: with a space before the text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator([WORDS, *list(SCRIPTS.values())[::2]] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|im_start|>", eos_token="<|im_end|>")
    fast.chat_template = (
        "<|im_start|>user\n{{ messages[0]['content'] }}<|im_end|>\n"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return fast


def sentence_piece() -> PreTrainedTokenizerFast:
    """Like Llama 2's: words with their space in front, bytes for what it does not know, the first space dropped."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*special, *(f"<0x{i:02X}>" for i in range(256))])
    made.train_from_iterator([WORDS] * 5, trainer)
    written = json.loads(made.to_str())
    written["added_tokens"] = written["added_tokens"][: len(special)]  # bytes are ordinary tokens
    made = Tokenizer.from_str(json.dumps(written))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = "<s>[INST] {{ messages[0]['content'] | trim }} [/INST]"
    return fast


MADE = {"byte level": byte_level(), "SentencePiece": sentence_piece()}


@pytest.fixture(params=[*MADE, "the shipped model's"], scope="module")
def base(request: pytest.FixtureRequest) -> LanguageModel:
    if request.param in MADE:
        return Framed(MADE[request.param])
    settings = Settings()
    if not is_cached(settings):
        pytest.skip("the language model is not downloaded yet: python -m playground ask hello")
    return Framed(AutoTokenizer.from_pretrained(base_folder(settings)))


def streamed(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    stream = TextStream(tokenizer)
    return [stream.push(token) for token in ids]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_texts_of_a_prompt_join_to_it(base: LanguageModel, script: str) -> None:
    prompt = SCRIPTS[script]
    ids = base.chat_ids(prompt)
    texts, (first, end) = prompt_texts(base.tokenizer, ids, prompt, base.frame)
    assert len(texts) == len(ids)
    assert "".join(texts) == decoded(base.tokenizer, ids)
    read = prompt if prompt in "".join(texts) else prompt.strip()  # a template may strip it
    assert "".join(texts[first:end]) == read
    if BROKEN not in prompt:
        assert not any(BROKEN in text for text in texts)


@pytest.mark.parametrize("script", [name for name in SCRIPTS if BROKEN not in SCRIPTS[name]])
def test_the_texts_of_an_answer_join_to_it(base: LanguageModel, script: str) -> None:
    ids = base.answer_ids(SCRIPTS[script])
    texts = streamed(base.tokenizer, ids)
    assert "".join(texts) == decoded(base.tokenizer, ids)
    assert not any(BROKEN in text for text in texts)


@given(st.text(max_size=60))
@pytest.mark.parametrize("name", MADE)
def test_any_text_joins(name: str, text: str) -> None:
    ids = MADE[name](text, add_special_tokens=False)["input_ids"]
    texts = token_texts(MADE[name], ids)
    assert "".join(texts) == decoded(MADE[name], ids)
    assert len(texts) == len(ids)
    if BROKEN not in text:
        assert texts == streamed(MADE[name], ids)


def test_a_character_belongs_to_the_token_that_completes_it() -> None:
    tokenizer = MADE["SentencePiece"]
    assert token_texts(tokenizer, tokenizer("a 한 the", add_special_tokens=False)["input_ids"]) == (
        ["a", " ", "", "", "한", " the"]
    )


def test_words_keep_their_spaces() -> None:
    """What the template puts in front of the first word is the template's."""
    base = Framed(MADE["SentencePiece"])
    prompt = "What is the capital of France?"
    texts, (first, end) = prompt_texts(base.tokenizer, base.chat_ids(prompt), prompt, base.frame)
    assert texts[first:end] == ["What", " is", " the", " capital", " of", " France?"]
    assert texts[first - 1].endswith(" ")


def test_a_space_that_the_tokenizer_adds_is_not_shown_as_the_visitors() -> None:
    tokenizer = byte_level(prefix=True)
    tokenizer.chat_template = None
    base = Framed(tokenizer)
    texts, (first, end) = prompt_texts(tokenizer, base.chat_ids("What is"), "What is", base.frame)
    assert texts[first:end] == ["What", " is"]
    assert "".join(texts) == "What is\n"


def test_a_line_break_that_the_template_shares_is_cut_at_the_prompt() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["\n\n"])
    base = Framed(tokenizer)
    texts, (first, end) = prompt_texts(tokenizer, base.chat_ids("\nWhat"), "\nWhat", base.frame)
    assert "".join(texts[first:end]) == "\nWhat"
    assert "".join(texts[:first]).endswith("user\n")


def test_a_prompt_that_looks_like_its_template_is_found_at_its_place() -> None:
    base = Framed(MADE["byte level"])
    _, (first, _) = prompt_texts(base.tokenizer, base.chat_ids("user\n"), "user\n", base.frame)
    assert first == base.frame[0]


@pytest.mark.parametrize("name", MADE)
def test_alternatives_are_what_they_would_complete(name: str) -> None:
    tokenizer = MADE[name]
    ids = tokenizer("What 한국 🍕 river", add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer)
    for token in ids:
        expected = stream.peek(token)
        assert expected == stream.push(token)
        assert BROKEN not in expected
    assert stream.peek(tokenizer.eos_token_id) == tokenizer.eos_token


def test_a_tidying_decoder_loses_nothing() -> None:
    tokenizer = byte_level()
    tokenizer.clean_up_tokenization_spaces = True
    ids = tokenizer("What ? I 'm here , please .", add_special_tokens=False)["input_ids"]
    assert "".join(token_texts(tokenizer, ids)) == "".join(streamed(tokenizer, ids)) == "What ? I 'm here , please ."


@pytest.mark.parametrize("text", ["\ufffd" * 2000, "한" * 2000, "🍕한 " * 700], ids=["broken", "Korean", "mixed"])
@pytest.mark.parametrize("name", MADE)
def test_a_long_text_costs_no_more_a_token(name: str, text: str) -> None:
    """Each decode is of a few tokens, also where nothing ever completes a character."""
    lengths: list[int] = []

    class Watched:
        all_special_ids: tuple[int, ...] = ()

        def decode(self, ids: Sequence[int], **options: Any) -> str:
            lengths.append(len(ids))
            return str(MADE[name].decode(ids, **options))

    streamed(Watched(), MADE[name](text, add_special_tokens=False)["input_ids"])
    assert max(lengths) <= 80
