"""Measure which words of a prompt moved the decision.

Leave one word out, encode the prompt again, and see how much weight the top expert loses. This works for any policy. It
is not part of `decide`, because it encodes up to 40 texts.
"""

import re
from dataclasses import replace

import numpy as np

from playground.core.values import Context
from playground.encode.base import TextEncoder
from playground.routers.base import Policy

MAX_WORDS = 40
WORD = re.compile(r"\S+")
FLOOR = 1e-4


def word_influence(
    policy: Policy, encoder: TextEncoder, ctx: Context, limit: int = MAX_WORDS
) -> tuple[tuple[str, float], ...]:
    """Return the first `limit` words in reading order, each with what it adds to the log weight of the top expert.

    A positive figure means that the word speaks for the chosen expert. All texts are encoded in one batch. An empty
    prompt gives an empty tuple.
    """
    spans = [match.span() for match in WORD.finditer(ctx.prompt)][:limit]
    if not spans:
        return ()
    whole = policy.decide(ctx).weights
    top = int(np.argmax(whole))
    shorter = [(ctx.prompt[:start] + ctx.prompt[end:]).strip() for start, end in spans]
    found: list[tuple[str, float]] = []
    for (start, end), text, embedding in zip(spans, shorter, encoder.encode(shorter), strict=True):
        without = policy.decide(replace(ctx, prompt=text, embedding=embedding)).weights
        change = np.log(max(float(whole[top]), FLOOR)) - np.log(max(float(without[top]), FLOOR))
        found.append((ctx.prompt[start:end], round(float(change), 4)))
    return tuple(found)
