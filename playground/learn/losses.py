"""What trainings of experts and of gates share: padded batches, the loss of answers, and the learning rate.

This module does not know what is trained.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from playground.learn.examples import TrainingExample

MIN_PREFIX = 4
WARMUP_STEPS = 10


def padded(examples: Sequence[TrainingExample], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (ids (B, T) long, mask (B, T) bool) of a right-padded batch. The mask marks tokens that carry loss."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    counted = torch.zeros(len(examples), longest, dtype=torch.bool)
    for i, example in enumerate(examples):
        ids[i, : len(example.ids)] = torch.tensor(example.ids)
        counted[i, example.start : len(example.ids)] = True
    return ids.to(device), counted.to(device)


def shared_prefix(examples: Sequence[TrainingExample]) -> int:
    """Return how many tokens all prompts of a batch share at their beginning. Mostly these are of the chat template."""
    shortest = min(example.start for example in examples) - 1
    first = examples[0].ids
    same = (i for i in range(shortest) if any(example.ids[i] != first[i] for example in examples))
    return next(same, shortest)


def answer_loss(model: Any, examples: Sequence[TrainingExample], *, share_prefix: bool = False) -> Tensor:
    """Return the mean of `token_losses`: the negative log-likelihood per answer token, in nats."""
    losses, _ = token_losses(model, examples, share_prefix=share_prefix)
    return losses.mean()


def row_losses(model: Any, examples: Sequence[TrainingExample]) -> list[float]:
    """Return each row's mean negative log-likelihood per answer token, in nats."""
    losses, rows = token_losses(model, examples)
    sums = torch.zeros(len(examples), device=losses.device).index_add(0, rows, losses)
    return [float(value) for value in sums / rows.bincount(minlength=len(examples))]


def token_losses(
    model: Any, examples: Sequence[TrainingExample], *, share_prefix: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (losses (N,) in nats, rows (N,)) of the answer tokens of a batch. The head runs on these tokens only.

    With `share_prefix`, the tokens that all rows begin with are read once, and all rows use their cache. This is exact
    for a model that treats every row alike (one adapter, no gate). It saves a third to a half of short rows.
    """
    ids, counted = padded(examples, next(model.parameters()).device)
    body, head = language_parts(model)
    common = shared_prefix(examples) if share_prefix and len(examples) > 1 else 0
    cache = None
    if common >= MIN_PREFIX:
        cache = body(input_ids=ids[:1, :common], use_cache=True).past_key_values
        for layer in cache.layers:
            layer.keys = layer.keys.expand(len(examples), -1, -1, -1)
            layer.values = layer.values.expand(len(examples), -1, -1, -1)
        ids, counted = ids[:, common:], counted[:, common:]
    # causal attention never looks at padding on the right, so no mask is needed and a quicker kernel is used
    hidden = body(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state[:, :-1]
    asked = counted[:, 1:]
    logits = head(hidden[asked]).float()
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][asked], reduction="none")
    return losses, asked.nonzero()[:, 0]


def language_parts(model: Any) -> tuple[Any, Any]:
    """Return (body, head) of a causal model, plain or wrapped by PEFT."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return causal.get_decoder(), causal.get_output_embeddings()


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate at `step`: a linear warm-up, then a cosine to a tenth of the peak."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    share = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.1 + 0.45 * (1 + float(torch.cos(torch.tensor(share * torch.pi)))))
