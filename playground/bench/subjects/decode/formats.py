"""Measure what int8 weights do to answers: the loss on held-out text, and how often greedy decoding changes a token.

All is measured with the even mix of the base and all installed experts, so that the matrices of the experts count too.
The loss is computed with int8 for every token. While decoding, prompts are read in bfloat16, as when serving.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from playground.core.statistics import paired_interval
from playground.core.values import Sampling
from playground.experts.catalogue import load_catalogue
from playground.learn.rows import read_rows, sample_rows
from playground.learn.tasks import TASKS
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row
from playground.model.int8 import MOST_ROWS
from playground.model.routing import Routing, RowRouting, routed
from playground.model.sampling import Sampler
from playground.model.scoring import answer_logprobs
from playground.serving.loading import load_bank, load_model
from playground.settings import Settings

SETS = ("selfinstruct", "lookalike", "gsm8k")
ROWS = 12
Served = tuple[LanguageModel, Bank]


def compare_formats(plain: Served, quick: Served, texts: Sequence[tuple[str, str]], tokens: int) -> dict[str, Any]:
    """Return how `quick`, with int8 weights, differs from `plain` on `texts`: pairs of a prompt and its held answer.

    `change` is the loss's relative change, with its 95 % interval over texts. `greedy_agreement` is the share of tokens
    of the plain model's greedy answers that `quick` would choose too after the same text. `alike_for` is how many
    tokens it chooses alike before the first difference, on average, of at most `tokens`.
    """
    before = losses(plain, texts)
    with always_int8(quick[1]):
        after = losses(quick, texts)
    weights = np.array([len(loss) for loss in before])
    means = np.array([[loss.mean() for loss in found] for found in (before, after)])
    old, new = (float((mean * weights).sum() / weights.sum()) for mean in means)
    change, low, high = paired_interval((means[1] - means[0]) * weights / weights.mean() / old)
    answers = greedy_answers(plain, [prompt for prompt, _ in texts], tokens)
    alike = agreement(quick, answers)
    return {
        "loss_bf16": round(old, 4),
        "loss_int8": round(new, 4),
        "change": round(change, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "greedy_agreement": round(float(np.concatenate(alike).mean()), 4),
        "alike_for": round(float(np.mean([_first_miss(row) for row in alike])), 1),
        "held_tokens": int(weights.sum()),
        "texts": len(texts),
        "tokens": tokens,
        "experts": list(plain[1].names),
    }


def run(settings: Settings, data: Path, *, tokens: int) -> dict[str, Any]:
    """Return `compare_formats` of the installed experts on the test rows in `data`."""
    pool = load_catalogue(settings.experts_dir)
    served = []
    for dtype in ("bfloat16", "int8"):
        base = load_model(settings.model_copy(update={"dtype": dtype}))
        bank, _ = load_bank(base, pool)
        served.append((base, bank))
    return compare_formats(served[0], served[1], held_texts(data), tokens)


def held_texts(data: Path, count: int = ROWS) -> list[tuple[str, str]]:
    """Return (prompt, answer) of `count` test rows of each set whose answers are text."""
    found = []
    for task in (TASKS[name] for name in SETS):
        rows = sample_rows(read_rows(data, task.folder, "test"), count, seed=0)
        found += [(task.prompt(row), task.answer(row)) for row in rows if task.answer]
    return found


@contextmanager
def always_int8(bank: Bank) -> Iterator[None]:
    """Compute products of any number of rows in int8 inside the `with`: slower, but as decoding computes them."""
    for product in bank.products:
        product.most_rows = 2**31
    try:
        yield
    finally:
        for product in bank.products:
            product.most_rows = MOST_ROWS


def even_mix(bank: Bank) -> RowRouting:
    """Return a routing that gives the base and all experts the same weight."""
    return RowRouting(constant=torch.full((len(bank),), 1 / len(bank)))


def losses(served: Served, texts: Sequence[tuple[str, str]]) -> list[np.ndarray]:
    """Return, for each text, the negative log-likelihoods in nats of its answer's tokens."""
    base, bank = served
    found = []
    for prompt, answer in texts:
        with routed(Routing([even_mix(bank)], len(bank))):
            [row] = answer_logprobs(base.model, base.chat_ids(prompt), [base.answer_ids(answer)])
        found.append(-row.double().numpy())
    return found


def greedy_answers(served: Served, prompts: Sequence[str], tokens: int) -> list[tuple[list[int], list[int]]]:
    """Return, for each prompt, its ids and those of the greedy answer: at most `tokens`, the end included."""
    base, bank = served
    found = []
    for prompt in prompts:
        row = _row(base, bank, base.chat_ids(prompt))
        count = len(row.ids)
        batch = Batch(base, bank)
        batch.join(row)
        while len(row.ids) < count + tokens and row.ids[-1] not in base.end_ids:
            batch.step()
        found.append((row.ids[:count], row.ids[count:]))
    return found


def agreement(served: Served, answers: Sequence[tuple[list[int], list[int]]]) -> list[np.ndarray]:
    """Return, for each answer, which of its tokens are the likeliest after the text before them.

    The first token is left out: it follows from the prompt alone, which is not read in int8.
    """
    base, bank = served
    found = []
    for prompt, answer in answers:
        row = _row(base, bank, prompt, answer)
        batch = Batch(base, bank)
        batch.join(row)
        steps = [batch.step()[0] for _ in answer[1:]]
        found.append(np.array([math.exp(s.drawn.logprob) >= s.drawn.top_probabilities[0] * 0.9999 for s in steps]))
    return [row for row in found if len(row)]


def _row(base: LanguageModel, bank: Bank, ids: Sequence[int], forced: Sequence[int] = ()) -> Row:
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), base.vocabulary)
    return Row(list(ids), even_mix(bank), sampler, forced=deque(forced))


def _first_miss(alike: np.ndarray) -> int:
    return int(alike.argmin()) if not alike.all() else len(alike)
