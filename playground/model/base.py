"""Load the shared language model and its tokenizer. Only this module calls `from_pretrained` for the base."""

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import logging as transformers_logging

from playground.errors import ArtefactError, InvalidRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Support:
    """Say what the playground can do with a base model. `model/probe.py` finds it out at the start.

    `batches`: several runs decode in one pass. Without it, each run has a pass of its own. `piece`: a long text is read
    in pieces of so many tokens; 0 reads it at once. `attention`: attention can be seen. `gates`: every layer has a
    linear module where a gate can act.
    """

    batches: bool = True
    piece: int = 256
    attention: bool = True
    gates: bool = True


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
    support: Support = field(default_factory=Support)

    @cached_property
    def config(self) -> Any:
        """Return the configuration of the part that reads and writes text."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def layers(self) -> int:
        """Return the number of decoder layers L."""
        return int(self.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """Return the number of query heads of a layer. Return 0 when the attention cannot be seen."""
        return int(getattr(self.config, "num_attention_heads", 0) or 0) if self.support.attention else 0

    @property
    def width(self) -> int:
        """Return the hidden width d."""
        return int(self.config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """Return the number of tokens V that the model can write."""
        return int(self.config.vocab_size)

    @property
    def limits(self) -> str:
        """Return what the playground cannot do with this base, in words. Return "" when it can do all."""
        support = self.support
        told = {
            "runs are decoded one at a time": not support.batches,
            "gates cannot act": not support.gates,
            "attention cannot be seen": not support.attention,
        }
        return ", ".join(words for words, is_so in told.items() if is_so)

    def check_gates(self) -> None:
        """Raise InvalidRequest when gates cannot act in this base."""
        if not self.support.gates:
            raise InvalidRequest(
                "A gate cannot act in this language model: some of its layers have no linear module for experts.",
                "Choose a router that decides for the whole prompt, or another language model.",
            )

    def taken(self, **arguments: Any) -> dict[str, Any]:
        """Return those of `arguments` that this model's `forward` names."""
        names = self._parameters
        return {name: value for name, value in arguments.items() if name in names}

    @cached_property
    def _parameters(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.forward).parameters)

    @property
    def end_ids(self) -> frozenset[int]:
        """Return the token ids that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    @property
    def max_tokens(self) -> int:
        """Return the longest context that the model was made for."""
        told = int(getattr(self.config, "max_position_embeddings", 0) or 0)
        return told if told > 0 else 2048

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
        templated = bool(self.tokenizer.chat_template)
        text = self._templated(prompt) if templated else prompt + "\n"
        ids = self.tokenizer(text, add_special_tokens=not templated)["input_ids"]
        if answer:
            ids = ids + self.answer_ids(answer)
        if len(ids) > self.max_tokens - 16:
            raise InvalidRequest(
                f"The prompt is {len(ids):,} tokens long; this model reads {self.max_tokens - 16:,}.", "Shorten it."
            )
        return list(ids)

    def _templated(self, prompt: str) -> str:
        """Return the text that the chat template makes of one user turn. Raise InvalidRequest when it refuses.

        A template that demands a system message gets an empty one.
        """
        turn = {"role": "user", "content": prompt}
        refusal = "it writes nothing"
        for messages in ([turn], [{"role": "system", "content": ""}, turn]):
            try:
                text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            except TemplateError as error:
                refusal = str(error)
                continue
            if text.strip():
                return str(text)
        raise InvalidRequest(
            f"The chat template of this language model refuses a prompt: {refusal}.",
            "Point PLAYGROUND_BASE_MODEL at another model, or correct the template in its tokenizer files.",
        )

    def answer_ids(self, answer: str) -> list[int]:
        """Return the token ids of a piece of an answer, without any special token."""
        return list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])


def keeps_keys_and_values(model: Any) -> bool:
    """Return whether each layer of `model` keeps the keys and values of all tokens or of a window, and nothing else."""
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    takes_cache = "past_key_values" in inspect.signature(model.forward).parameters
    return takes_cache and kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


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
    except (OSError, ValueError, ImportError) as error:
        raise ArtefactError(
            f"The language model in {folder} cannot be loaded: {error}",
            "Delete the folder to download the model again, or point PLAYGROUND_BASE_MODEL at another model.",
        ) from error
    model.eval().requires_grad_(False)
    if torch.cuda.is_available():
        model.to("cuda")
    support = Support() if keeps_keys_and_values(model) else Support(batches=False, piece=0)
    made = LanguageModel(model, tokenizer, name or folder, dtype, int8, support)
    try:
        made.chat_ids("Hello")
    except InvalidRequest as error:
        raise ArtefactError(error.message, error.remedy) from error
    log.info("base loaded folder=%s dtype=%s layers=%s", folder, dtype, made.layers)
    return made
