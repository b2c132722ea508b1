"""Explain why a run was routed so: evidence and sentences for gates, and the words that moved a policy.

Shapes: T prompt tokens, L layers, E experts of the pool.
"""

from dataclasses import replace

import numpy as np

from playground.core.values import Context, Decision, Evidence, Scores, Text
from playground.encode.base import TextEncoder
from playground.routers.base import Policy
from playground.routers.influence import word_influence
from playground.serving.run import Run


def gate_decision(run: Run, prompt_weights: np.ndarray) -> Decision:
    """Return how a gate weighed the prompt: the mean of its weights (T, L, E) over tokens and layers, and why."""
    weights = prompt_weights.mean(axis=(0, 1), dtype=np.float64)
    weights = (weights / weights.sum()).astype(np.float32)
    end = prompt_weights[-1].mean(axis=0, dtype=np.float64)
    end /= end.sum()
    top, last = int(weights.argmax()), int(end.argmax())
    sentence = (
        f"The gate decides anew for each token and layer; over the prompt it gives most to "
        f"{run.pool.experts[top].title} ({weights[top]:.0%})"
    )
    # A gate may act on the end of the prompt alone, or turn there: the last token is where the answer comes from.
    if last != top:
        sentence += f", at its last token to {run.pool.experts[last].title} ({end[last]:.0%})"
    return Decision(weights=weights, evidence=_gate_evidence(run, f"{sentence}."))


def _gate_evidence(run: Run, sentence: str) -> Evidence:
    """Return `sentence`, with what the prompt as a whole adds to each token's scores where the gate reads it."""
    state = None if run.routing is None else run.routing.run
    if state is None or state.prior is None or run.gate is None:
        return Text(sentence)
    known = {name: float(score) for name, score in zip(run.gate.experts, state.prior, strict=True)}
    shared = tuple(sorted((name for name in run.pool.names if name in known), key=lambda name: -known[name]))
    return Scores(
        f"{sentence} To the scores of every token it adds what the prompt as a whole speaks for:",
        tuple(round(known[name], 4) for name in shared),
        experts=shared,
    )


def with_words(decision: Decision, policy: Policy, encoder: TextEncoder, context: Context) -> Decision:
    """Return `decision` with the words that moved it, when its evidence is `Scores`."""
    if not isinstance(decision.evidence, Scores):
        return decision
    words = word_influence(policy, encoder, context)
    return replace(decision, evidence=replace(decision.evidence, words=words))
