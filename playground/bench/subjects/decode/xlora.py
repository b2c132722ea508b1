"""PEFT's own X-LoRA with the same adapters: what a mixture per token and layer costs without stacking.

X-LoRA reads the whole text anew for each token, twice (arXiv:2402.07148). So it slows down as the text grows.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import XLoraConfig, get_peft_model

from playground.model.base import LanguageModel


def make_xlora(base: LanguageModel, folders: Sequence[Path]) -> Any:
    """Return X-LoRA over the adapters in `folders`, one weight a layer. It changes the model of `base`."""
    base.model.config.use_cache = False
    config = XLoraConfig(
        task_type="CAUSAL_LM",
        hidden_size=base.width,
        layerwise_scalings=True,
        adapters={str(i): str(folder) for i, folder in enumerate(folders)},  # other names make it fail
    )
    model: Any = get_peft_model(base.model, config)
    return model.to(base.dtype).eval()


def xlora_rate(model: Any, ids: Sequence[int], tokens: int) -> float:
    """Return tokens per second of X-LoRA's greedy `generate`, prompt included."""
    text = torch.tensor([list(ids)], device=model.device)
    began = time.perf_counter()
    with torch.inference_mode():
        model.generate(input_ids=text, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return tokens / (time.perf_counter() - began)
