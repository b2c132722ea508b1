"""Likelihoods of answers under a causal model: the measure behind multiple choice and answer loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def answer_logprobs(model: Any, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]) -> list[Tensor]:
    """Per answer, the log-probability of each of its tokens after the prompt: a list of (len,) float32 tensors.

    The prompt is read once and its cache shared by all answers. O(len(prompt) + sum of padded answers) tokens.
    """
    device = next(model.parameters()).device
    prompt = torch.tensor([list(prompt_ids)], device=device)
    longest = max(len(answer) for answer in answers)
    rows = torch.zeros(len(answers), longest, dtype=torch.long, device=device)
    for i, answer in enumerate(answers):
        rows[i, : len(answer)] = torch.tensor(list(answer), device=device)
    with torch.inference_mode():
        if len(answers) == 1:
            whole = torch.cat([prompt, rows], dim=1)
            kept = longest + 1
            logits = model(input_ids=whole, use_cache=False, logits_to_keep=kept).logits[:, :-1].float()
        else:
            first = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            cache = first.past_key_values
            cache.batch_repeat_interleave(len(answers))
            head = first.logits[:, -1:].float().expand(len(answers), 1, -1)
            tail = model(input_ids=rows, past_key_values=cache, use_cache=True).logits[:, :-1].float()
            logits = torch.cat([head, tail], dim=1)
        logprobs = torch.log_softmax(logits, dim=-1).gather(2, rows.unsqueeze(2)).squeeze(2)
    return [logprobs[i, : len(answer)].cpu() for i, answer in enumerate(answers)]


def choose(model: Any, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]) -> int:
    """Index of the answer with the highest log-likelihood per token, over the tokens in which the answers differ."""
    shared = common_prefix(answers)
    prompt = [*prompt_ids, *answers[0][:shared]]
    scores = [float(row.mean()) for row in answer_logprobs(model, prompt, [answer[shared:] for answer in answers])]
    return max(range(len(scores)), key=scores.__getitem__)


def common_prefix(answers: Sequence[Sequence[int]]) -> int:
    """How many tokens all answers begin with alike, leaving at least one of each."""
    shared = 0
    while all(shared < len(answer) - 1 for answer in answers) and len({answer[shared] for answer in answers}) == 1:
        shared += 1
    return shared
