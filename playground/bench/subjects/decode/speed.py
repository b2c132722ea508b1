"""Measure how fast tokens come: each of our ways, as a ratio to the library's plain `generate` in the same run.

Every round times every way once, in turn, so that a machine that slows down slows all of them. The figures are medians
over rounds. Small differences would be lost in that. So the cost of observing is measured between neighbouring tokens
of one run, and the cost of more experts in short turns. Experts and gate are random: their values do not change the
work.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from playground.bench.base import Tell
from playground.bench.subjects.decode.adapters import read_adapters, write_random_adapters
from playground.bench.subjects.decode.xlora import make_xlora, xlora_rate
from playground.core.values import Observe, Sampling
from playground.model.adapters import Adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row
from playground.model.routing import RowRouting, gate_routing
from playground.model.sampling import Sampler
from playground.routers.parts import LinearGate
from playground.serving.loading import load_model
from playground.settings import Settings

PROMPT = "Explain in a few sentences why the sky is blue and sunsets are red."
EXPERTS = 8
COUNTS = (1, 2, 4, 8, 16, 32)
XLORA_TOKENS = 24  # it reads the whole text for each token, so more would take minutes
WARM_TOKENS = 4
TURN_TOKENS = 8
TURNS = 3  # of each number of experts in a round
OBSERVED = Observe(layer=10, head=0)
Way = Callable[[int], float]


class Loop:
    """Our decode loop over one model with `adapters` in its bank. A gate decides in every layer."""

    def __init__(self, base: LanguageModel, adapters: Sequence[Adapter]) -> None:
        self.base = base
        self.adapters = adapters
        self.bank = Bank(base.model, int8=base.int8)
        self.ids = base.chat_ids(PROMPT)

    def stack(self, count: int) -> None:
        """Put the first `count` adapters in the bank."""
        if len(self.bank) != count + 1:
            self.bank.stack(self.adapters[:count])

    def gate(self, seed: int) -> RowRouting:
        """Return the routing of a new run of a random gate over the bank."""
        gate = LinearGate(self.bank.names, self.base.layers, self.base.width, top_k=3)
        torch.nn.init.normal_(gate.matrix, generator=torch.Generator().manual_seed(seed))
        return gate_routing(gate.eval().requires_grad_(False), self.bank.names, prompt_tokens=len(self.ids))

    def way(self, rows: int, *, observe: Observe | None = None) -> Way:
        """Return a way to decode `rows` runs greedily in one batch, each with its gate. 0 means one unrouted run."""

        def rate(tokens: int) -> float:
            self.stack(EXPERTS)
            plain = RowRouting(constant=torch.eye(len(self.bank))[0])
            routings = [self.gate(seed) for seed in range(rows)] or [plain]
            began = time.perf_counter()
            batch = self.started(routings, observe)
            for _ in range(tokens - 1):
                batch.step()
            return tokens / (time.perf_counter() - began)

        return rate

    def started(self, routings: Sequence[RowRouting], observe: Observe | None = None) -> Batch:
        """Return a batch that has read the prompt once for each of `routings`."""
        batch = Batch(self.base, self.bank)
        for routing in routings:
            sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), self.base.vocabulary)
            batch.join(Row(list(self.ids), routing, sampler, observe))
        return batch

    def growth(self, turns: int) -> dict[int, float]:
        """Return how much longer a token takes with each of COUNTS experts than with the first count."""
        times: dict[int, list[float]] = {count: [] for count in COUNTS}
        for _ in range(turns):
            for count, found in times.items():
                self.stack(count)
                batch = self.started([self.gate(0)])
                found.append(statistics.median(_seconds(batch) for _ in range(TURN_TOKENS)))
        first = times[COUNTS[0]]
        return {count: _median_ratio(found, first) for count, found in times.items()}

    def observation_cost(self, tokens: int) -> float:
        """Return by what share observing lengthens a token. Every other token of one run is observed."""
        self.stack(EXPERTS)
        batch = self.started([self.gate(0)])
        seen: list[float] = []
        unseen: list[float] = []
        for _ in range(max(1, tokens // 2)):
            for observe, found in ((OBSERVED, seen), (None, unseen)):
                batch.rows[0].observe = observe
                found.append(_seconds(batch))
        return _median_ratio(seen, unseen) - 1


def _seconds(batch: Batch) -> float:
    """Return how long the next token of `batch` takes."""
    began = time.perf_counter()
    batch.step()
    return time.perf_counter() - began


def _median_ratio(times: Sequence[float], to: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, to, strict=True))


def generate_rate(base: LanguageModel, tokens: int) -> float:
    """Return tokens per second of the library's greedy `generate`, prompt included."""
    ids = torch.tensor([base.chat_ids(PROMPT)], device=base.model.device)
    began = time.perf_counter()
    base.model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return tokens / (time.perf_counter() - began)


def run(settings: Settings, tell: Tell, *, rounds: int, tokens: int) -> dict[str, Any]:
    """Return the speeds that `bench decode` shows. Raise ArtefactError when the model cannot be loaded."""
    usual = settings.model_copy(update={"dtype": "bfloat16" if settings.dtype == "int8" else settings.dtype})
    plain, ours = load_model(usual), load_model(usual)
    quick = load_model(settings.model_copy(update={"dtype": "int8"}))
    with tempfile.TemporaryDirectory() as folder:
        folders = write_random_adapters(Path(folder), plain.model, max(COUNTS))
        adapters = read_adapters(folders, plain.model)
        tell("building X-LoRA")
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
    }
    rates = timed(ways, rounds, tokens, tell)
    tell("one layer observed, and not")
    cost = loop.observation_cost(rounds * tokens)
    tell("more experts")
    growth = loop.growth(rounds * TURNS)
    found = summary(rates, _name(ours))
    return {
        "tokens": tokens,
        "rounds": rounds,
        "experts": EXPERTS,
        **found,
        "observation_cost": round(cost, 3),
        "growth": {str(count): round(ratio, 3) for count, ratio in growth.items()},
        "by_experts": by_experts(growth, found["routed_ratio"]),
    }


def by_experts(growth: Mapping[int, float], routed_ratio: float) -> dict[str, float]:
    """Return the speed of routing among each number of experts as a ratio to plain `generate`.

    `growth` is how much longer a token takes with each number, `routed_ratio` the measured ratio with EXPERTS.
    """
    return {str(count): round(routed_ratio * growth[EXPERTS] / ratio, 3) for count, ratio in growth.items()}


def _name(base: LanguageModel) -> str:
    return "int8" if base.int8 else str(base.dtype).removeprefix("torch.")


def timed(ways: dict[str, Way], rounds: int, tokens: int, tell: Tell) -> dict[str, list[float]]:
    """Return tokens per second of each way in each round, after a short round to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            tell(f"round {turn} of {rounds}: {name}" if turn else f"warming up: {name}")
            rate = way(tokens if turn else WARM_TOKENS)
            if turn:
                rates[name].append(rate)
    return rates


def summary(rates: dict[str, list[float]], usual: str) -> dict[str, Any]:
    """Return the ratios that `bench decode` shows. `usual` is the number format without int8."""

    def ratio(way: str, to: str = "plain") -> float:
        return round(_median_ratio(rates[way], rates[to]), 3)

    fast, mode = ("fast", "int8") if ratio("fast") > ratio("observed") else ("observed", usual)
    return {
        "dtype": usual,
        "plain_tok_s": round(statistics.median(rates["plain"]), 2),
        "loop_ratio": ratio("loop"),
        "routed_ratio": ratio("routed"),
        "observed_ratio": ratio("observed"),
        "fast_ratio": ratio(fast),
        "fast_mode": mode,
        "int8_loop_ratio": ratio("fast_loop"),
        "int8_routed_ratio": ratio("fast_routed"),
        "int8_observed_ratio": ratio("fast"),
        "xlora_tok_s": round(statistics.median(rates["xlora"]), 2),
        "xlora_ratio": ratio(fast, "xlora"),
        f"xlora_ratio_{usual}": ratio("observed", "xlora"),
        "pair_cost": ratio("routed", "pair"),
    }
