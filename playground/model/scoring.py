"""Compute likelihoods of answers under a causal model, for multiple choice and answer loss.

One prompt is read under many routings at once, a row each. Comparing systems therefore uses full batches without
padding. The output head runs on the tokens of answers only.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from playground.model.routing import Routing, RowRouting, forward

PASS_TOKENS = 4096  # rows times tokens of one pass, cache included: 23 kB each in SmolLM2-135M
HEAD_TOKENS = 256  # positions the output head reads at once: 50 MB of float32 logits at a vocabulary of 49,152


def answer_logprobs(model: Any, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return for each answer the log-probability of each of its tokens after the prompt: (len,) float32 tensors.

    `model` is read as it is, plain or wrapped by PEFT, without any routing.
    """
    return _logprobs(model, None, 0, prompt_ids, answers)[0]


def routed_logprobs(
    model: Any, routes: Sequence[RowRouting], size: int, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]
) -> list[list[Tensor]]:
    """Return `answer_logprobs` for each of `routes` over a bank of `size` experts. Each route must be a new run."""
    whole = len(prompt_ids) + max(map(len, answers))
    step = max(1, PASS_TOKENS // (whole * len(answers)))
    found: list[list[Tensor]] = []
    for start in range(0, len(routes), step):
        found += _logprobs(model, routes[start : start + step], size, prompt_ids, answers)
    return found


@torch.inference_mode()
def _logprobs(
    model: Any,
    routes: Sequence[RowRouting] | None,
    size: int,
    prompt_ids: Sequence[int],
    answers: Sequence[Sequence[int]],
) -> list[list[Tensor]]:
    """Return (routes, answers, tokens). The prompt is read once for each route; the answers then share its cache."""
    head = model.get_output_embeddings()
    device = next(model.parameters()).device
    count = 1 if routes is None else len(routes)
    prompt = torch.tensor([list(prompt_ids)], device=device).expand(count, -1)
    if len(answers) == 1:
        answer = torch.tensor([list(answers[0])], device=device).expand(count, -1)
        hidden = _read(model, routes, size, torch.cat([prompt, answer[:, :-1]], dim=1), None)
        taken = _taken(head, hidden[:, prompt.shape[1] - 1 :].flatten(0, 1), answer.flatten())
        return [[row] for row in taken.view(count, -1).cpu()]
    cache = DynamicCache()
    last = _read(model, routes, size, prompt, cache)[:, -1]
    firsts = torch.tensor([answer[0] for answer in answers], device=device)
    begun = torch.log_softmax(head(last).float(), dim=-1)[:, firsts].flatten().cpu()
    read, targets, counted = _padded([answer[:-1] for answer in answers], [answer[1:] for answer in answers], device)
    if not bool(counted.any()):
        return [[row[i : i + 1] for i in range(len(answers))] for row in begun.view(count, -1)]
    cache.batch_repeat_interleave(len(answers))
    branches = None if routes is None else [_branch(route) for route in routes for _ in answers]
    hidden = _read(model, branches, size, read.repeat(count, 1), cache)
    mask = counted.repeat(count, 1)
    taken = _taken(head, hidden[mask], targets.repeat(count, 1)[mask]).cpu()
    lengths = [len(answer) - 1 for answer in answers] * count
    parts = [torch.cat([first.view(1), rest]) for first, rest in zip(begun, taken.split(lengths), strict=True)]
    return [parts[i : i + len(answers)] for i in range(0, len(parts), len(answers))]


def _read(model: Any, routes: Sequence[RowRouting] | None, size: int, ids: Tensor, cache: Any) -> Tensor:
    """Return the last hidden states (B, T, d) of `ids` (B, T), read after what `cache` holds."""
    body = model.get_decoder()
    arguments = {"past_key_values": cache, "use_cache": cache is not None}
    if routes is None:
        output = body(input_ids=ids, **arguments)
    else:
        output = forward(body, Routing(routes, size), ids, **arguments)
    hidden: Tensor = output.last_hidden_state
    return hidden


def _branch(route: RowRouting) -> RowRouting:
    """Return a copy of the run, so that what the gate keeps of one answer does not reach another."""
    return route if route.run is None else replace(route, run=replace(route.run, memory=dict(route.run.memory)))


def _padded(
    read: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (ids, targets, mask), each (rows, longest). Padding stands right, where causal attention never looks."""
    shape = (len(read), max(map(len, read)))
    ids, wanted = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    counted = torch.zeros(shape, dtype=torch.bool)
    for i, (row, target) in enumerate(zip(read, targets, strict=True)):
        ids[i, : len(row)] = torch.tensor(list(row))
        wanted[i, : len(row)] = torch.tensor(list(target))
        counted[i, : len(row)] = True
    return ids.to(device), wanted.to(device), counted.to(device)


def _taken(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability (M,) float32 of each target after its hidden state (M, d)."""
    found = []
    for states, wanted in zip(hidden.split(HEAD_TOKENS), targets.split(HEAD_TOKENS), strict=True):
        logits = head(states).float()
        found.append(logits.gather(1, wanted.unsqueeze(1)).squeeze(1) - logits.logsumexp(1))
    return torch.cat(found)


def choose(model: Any, prompt_ids: Sequence[int], answers: Sequence[Sequence[int]]) -> int:
    """Return the index of the answer with the highest log-likelihood per token.

    Only the tokens in which the answers differ count.
    """
    shared = common_prefix(answers)
    prompt = [*prompt_ids, *answers[0][:shared]]
    scores = [float(row.mean()) for row in answer_logprobs(model, prompt, [answer[shared:] for answer in answers])]
    return max(range(len(scores)), key=scores.__getitem__)


def common_prefix(answers: Sequence[Sequence[int]]) -> int:
    """Return how many tokens several answers share at their beginning, leaving at least one of each.

    It is 0 for a single answer.
    """
    shared = 0
    if len(answers) == 1:
        return 0
    while all(shared < len(answer) - 1 for answer in answers) and len({answer[shared] for answer in answers}) == 1:
        shared += 1
    return shared
