"""How fast tokens come, as ratios to the library's own `generate` in the same run and number format.

Each round times every way once, in turn, so that a machine that slows down slows all of them.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from playground.assembly import load_bank, load_model
from playground.core.values import Observe, Sampling
from playground.experts.catalogue import load_catalogue
from playground.model.attention import observe_attention
from playground.model.base import BaseModel
from playground.model.decode import Batch, Row
from playground.model.lora import Bank
from playground.model.routing import RowRouting
from playground.model.sampling import Sampler
from playground.routers.base import GateRun
from playground.routers.parts import LinearGate
from playground.settings import Settings

PROMPT = "Explain in a few sentences why the sky is blue and sunsets are red."
TOKENS = 64
ROUNDS = 5
OBSERVED = Observe(layer=10, head=0)
Progress = Callable[[str, int, int], None]


def run(
    settings: Settings, progress: Progress | None = None, *, rounds: int = ROUNDS, tokens: int = TOKENS
) -> dict[str, Any]:
    """Tokens per second of `generate`, and the ratio to it of each of our ways: medians over `rounds`.

    The gate has all LoRA experts and looks at every layer; its weights are random, as their values do not change the
    work.
    """
    plain, ours = load_model(settings), load_model(settings)
    bank, _ = load_bank(ours, load_catalogue(settings.experts_dir))
    observe_attention(ours.model)
    gate = LinearGate(bank.names, ours.layers, ours.width, top_k=3, temperature=1.0)
    torch.nn.init.normal_(gate.matrix, generator=torch.Generator().manual_seed(0))
    gate.eval().requires_grad_(False)
    unrouted = RowRouting(constant=torch.eye(len(bank))[0])
    routed = RowRouting(gate=gate, run=GateRun(0))
    ways: dict[str, Callable[[], float]] = {
        "plain": lambda: _generate(plain, tokens),
        "loop": lambda: _loop(ours, bank, [unrouted], None, tokens),
        "routed": lambda: _loop(ours, bank, [routed], None, tokens),
        "observed": lambda: _loop(ours, bank, [routed], OBSERVED, tokens),
        "pair": lambda: _loop(ours, bank, [routed, unrouted], None, tokens),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            if progress:
                progress(f"round {turn} of {rounds}: {name}", turn, rounds)
            rate = way()
            if turn:  # the first round warms up
                rates[name].append(rate)

    def ratio(way: str, to: str = "plain") -> float:
        return round(statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True)), 3)

    return {
        "dtype": str(ours.dtype).removeprefix("torch."),
        "experts": len(bank) - 1,
        "tokens": tokens,
        "rounds": rounds,
        "plain_tok_s": round(statistics.median(rates["plain"]), 2),
        "loop_ratio": ratio("loop"),
        "routed_ratio": ratio("routed"),
        "observed_ratio": ratio("observed"),
        "fast_ratio": ratio("observed"),
        "fast_mode": str(ours.dtype).removeprefix("torch."),
        "pair_cost": round(1 / ratio("pair", "routed"), 3),
    }


def _generate(base: BaseModel, tokens: int) -> float:
    """Tokens per second of the library's greedy `generate`, prompt included."""
    ids = torch.tensor([base.chat_ids(PROMPT)], device=base.model.device)
    began = time.perf_counter()
    base.model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return tokens / (time.perf_counter() - began)


def _loop(base: BaseModel, bank: Bank, routings: list[RowRouting], observe: Observe | None, tokens: int) -> float:
    """Tokens per second of each row of our loop, prompts included."""
    batch = Batch(base, bank)
    began = time.perf_counter()
    for routing in routings:
        sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), int(base.model.config.vocab_size))
        batch.join(Row(base.chat_ids(PROMPT), routing, sampler, observe))
    for _ in range(tokens - 1):
        batch.step()
    return tokens / (time.perf_counter() - began)
