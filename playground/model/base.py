"""Load the shared language model and its tokenizer. Only this module calls `from_pretrained` for the base."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from playground.errors import ArtefactError, InvalidRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Hold the language model as the library made it, and what is needed to use it.

    `int8` asks for int8 weights in products of few rows. `dtype` is the format of everything else.
    """

    model: Any
    tokenizer: Any
    name: str
    dtype: torch.dtype
    int8: bool = False

    @property
    def layers(self) -> int:
        """Return the number of decoder layers L."""
        return int(self.model.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """Return the number of query heads of a layer, 0 for a model without attention."""
        return int(getattr(self.model.config, "num_attention_heads", 0))

    @property
    def width(self) -> int:
        """Return the hidden width d."""
        return int(self.model.config.hidden_size)

    @property
    def end_ids(self) -> frozenset[int]:
        """Return the token ids that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    @property
    def max_tokens(self) -> int:
        """Return the longest context that the model was made for."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    @cached_property
    def frame(self) -> tuple[int, int]:
        """Return how many tokens the chat template puts before and after a prompt."""
        one, other = self.chat_ids("§"), self.chat_ids("x")  # two texts that differ in their first and last bytes
        return alike(one, other), alike(one[::-1], other[::-1])

    def chat_ids(self, prompt: str, answer: str = "") -> list[int]:
        """Return the token ids of one user turn, ready for the assistant. `answer` is the beginning of its answer.

        Raise InvalidRequest for an empty prompt, or for one that leaves the model no room to answer.
        """
        if not prompt.strip():
            raise InvalidRequest("The prompt is empty.", "Type something to send.")
        tokenizer = self.tokenizer
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        else:
            text = prompt + "\n"
        ids = tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"]
        if answer:
            ids = ids + self.answer_ids(answer)
        if len(ids) > self.max_tokens - 16:
            raise InvalidRequest(
                f"The prompt is {len(ids):,} tokens long; this model reads {self.max_tokens - 16:,}.", "Shorten it."
            )
        return list(ids)

    def answer_ids(self, answer: str) -> list[int]:
        """Return the token ids of a piece of an answer, without any special token."""
        return list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])


def alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens `one` and `other` share at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def choose_dtype(setting: str) -> torch.dtype:
    """Return the number format for the setting 'auto', 'float32', 'bfloat16' or 'int8'. 'auto' asks the processor.

    With int8 weights everything else is bfloat16: the product is fifteen times slower with float32 inputs.
    """
    if setting == "float32":
        return torch.float32
    if setting in ("bfloat16", "int8"):
        return torch.bfloat16
    quick = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if quick else torch.float32


def load_base(
    folder: str, dtype: torch.dtype, *, int8: bool = False, name: str = "", local: bool = True
) -> LanguageModel:
    """Return the model in `folder`, in eval mode with frozen parameters. `folder` is a hub id when not `local`.

    Raise ArtefactError when it cannot be read.
    """
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=local)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"The language model in {folder} cannot be loaded: {error}",
            "Delete the folder to download the model again, or point PLAYGROUND_BASE_MODEL at another model.",
        ) from error
    model.eval().requires_grad_(False)
    if torch.cuda.is_available():
        model.to("cuda")
    log.info("base loaded folder=%s dtype=%s layers=%s", folder, dtype, model.config.num_hidden_layers)
    return LanguageModel(model=model, tokenizer=tokenizer, name=name or folder, dtype=dtype, int8=int8)
