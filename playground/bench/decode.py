"""How fast tokens come: each of our ways as a ratio to the library's own plain `generate` in the same run.

Every round times every way once, in turn, so that a machine that slows down slows all of them; what is told are the
medians over rounds. Experts and gate are random: their values do not change the work.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from playground.assembly import load_model
from playground.bench.adapters import read_adapters, write_random_adapters
from playground.bench.xlora import make_xlora, xlora_rate
from playground.core.values import Observe, Sampling
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import BaseModel
from playground.model.decode import Batch, Row
from playground.model.routing import RowRouting, gate_routing
from playground.model.sampling import Sampler
from playground.routers.parts import LinearGate
from playground.settings import Settings

PROMPT = "Explain in a few sentences why the sky is blue and sunsets are red."
EXPERTS = 8
COUNTS = (1, 2, 4, 8, 16, 32)
TOKENS = 64
XLORA_TOKENS = 24  # it reads the whole text for each token: more would only make it slower, and take minutes
WARM_TOKENS = 4
ROUNDS = 5
OBSERVED = Observe(layer=10, head=0)
Progress = Callable[[str, int, int], None]
Way = Callable[[int], float]


class Loop:
    """Our decode loop over one model with `adapters` in its bank; a gate decides in every layer."""

    def __init__(self, base: BaseModel, adapters: Sequence[Adapter]) -> None:
        self.base = base
        self.adapters = adapters
        self.bank = Bank(base.model, int8=base.int8)
        self.ids = base.chat_ids(PROMPT)

    def stack(self, count: int) -> None:
        """Have the first `count` adapters in the bank."""
        if len(self.bank) != count + 1:
            self.bank.stack(self.adapters[:count])

    def gate(self, seed: int) -> RowRouting:
        """A new run of a random gate over the bank."""
        gate = LinearGate(self.bank.names, self.base.layers, self.base.width, top_k=3)
        torch.nn.init.normal_(gate.matrix, generator=torch.Generator().manual_seed(seed))
        return gate_routing(gate.eval().requires_grad_(False), self.bank.names, prompt_tokens=len(self.ids))

    def way(self, rows: int, *, experts: int = EXPERTS, observe: Observe | None = None) -> Way:
        """Greedy decoding of `rows` runs in one batch, each with a gate of its own; unrouted for 0."""

        def rate(tokens: int) -> float:
            self.stack(experts)
            plain = RowRouting(constant=torch.eye(len(self.bank))[0])
            return self._rate([self.gate(seed) for seed in range(rows)] or [plain], observe, tokens)

        return rate

    def _rate(self, routings: Sequence[RowRouting], observe: Observe | None, tokens: int) -> float:
        """Tokens per second of each run, prompts included."""
        batch = Batch(self.base, self.bank)
        began = time.perf_counter()
        for routing in routings:
            sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), int(self.base.model.config.vocab_size))
            batch.join(Row(list(self.ids), routing, sampler, observe))
        for _ in range(tokens - 1):
            batch.step()
        return tokens / (time.perf_counter() - began)


def generate_rate(base: BaseModel, tokens: int) -> float:
    """Tokens per second of the library's greedy `generate`, prompt included."""
    ids = torch.tensor([base.chat_ids(PROMPT)], device=base.model.device)
    began = time.perf_counter()
    base.model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return tokens / (time.perf_counter() - began)


def run(
    settings: Settings, progress: Progress | None = None, *, rounds: int = ROUNDS, tokens: int = TOKENS
) -> dict[str, Any]:
    """The object `bench decode --json` prints, but for what int8 does to answers. Raises ArtefactError."""
    usual = settings.model_copy(update={"dtype": "bfloat16" if settings.dtype == "int8" else settings.dtype})
    plain, ours = load_model(usual), load_model(usual)
    quick = load_model(settings.model_copy(update={"dtype": "int8"}))
    with tempfile.TemporaryDirectory() as folder:
        folders = write_random_adapters(Path(folder), plain.model, max(COUNTS))
        adapters = read_adapters(folders, plain.model)
        if progress:
            progress("building X-LoRA", 0, rounds)
        xlora = make_xlora(load_model(usual), folders[:EXPERTS])
    loop, quick_loop = Loop(ours, adapters), Loop(quick, adapters)
    ways: dict[str, Way] = {
        "plain": lambda count: generate_rate(plain, count),
        "loop": loop.way(0),
        "routed": loop.way(1),
        "observed": loop.way(1, observe=OBSERVED),
        "pair": loop.way(2),
        "fast_loop": quick_loop.way(0),
        "fast_routed": quick_loop.way(1),
        "fast": quick_loop.way(1, observe=OBSERVED),
        "xlora": lambda count: xlora_rate(xlora, loop.ids, min(count, XLORA_TOKENS)),
        **{f"experts {count}": loop.way(1, experts=count) for count in COUNTS},
    }
    rates = timed(ways, rounds, tokens, progress)
    return {"tokens": tokens, "rounds": rounds, "experts": EXPERTS, **summary(rates, _name(ours))}


def _name(base: BaseModel) -> str:
    return "int8" if base.int8 else str(base.dtype).removeprefix("torch.")


def timed(ways: dict[str, Way], rounds: int, tokens: int, progress: Progress | None) -> dict[str, list[float]]:
    """Tokens per second of each way in each round, after a short round to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            if progress:
                progress(f"round {turn} of {rounds}: {name}" if turn else f"warming up: {name}", turn, rounds)
            rate = way(tokens if turn else WARM_TOKENS)
            if turn:
                rates[name].append(rate)
    return rates


def summary(rates: dict[str, list[float]], usual: str) -> dict[str, Any]:
    """The ratios of `bench decode`; `usual` is the number format without int8."""

    def ratio(way: str, to: str = "plain") -> float:
        return round(statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True)), 3)

    fast, mode = ("fast", "int8") if ratio("fast") > ratio("observed") else ("observed", usual)
    return {
        "dtype": usual,
        "plain_tok_s": round(statistics.median(rates["plain"]), 2),
        "loop_ratio": ratio("loop"),
        "routed_ratio": ratio("routed"),
        "observed_ratio": ratio("observed"),
        "observation_cost": round(ratio("routed", "observed") - 1, 3),
        "fast_ratio": ratio(fast),
        "fast_mode": mode,
        "int8_loop_ratio": ratio("fast_loop"),
        "int8_routed_ratio": ratio("fast_routed"),
        "int8_observed_ratio": ratio("fast"),
        "xlora_tok_s": round(statistics.median(rates["xlora"]), 2),
        "xlora_ratio": ratio(fast, "xlora"),
        f"xlora_ratio_{usual}": ratio("observed", "xlora"),
        "pair_cost": ratio("routed", "pair"),
        "by_experts": {str(count): ratio(f"experts {count}") for count in COUNTS},
        "growth": {str(count): ratio("experts 1", f"experts {count}") for count in COUNTS},
    }
