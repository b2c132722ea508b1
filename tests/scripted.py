"""A scripted Runtime for page tests. It has the methods of the real one, events from a list, and no model."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playground.core.events import Decided, Event, Finished, PromptRead, RunStarted, TokenGenerated, ToolCalled
from playground.core.route_measures import AttentionOverview, Likelihoods, Likeness, likeness, rolled, shrunk
from playground.core.values import Expert, Neighbours, Observe, Pool, RunRequest, Scores, normalised
from playground.errors import InvalidRequest
from playground.settings import Settings
from playground.store.database import Database
from playground.store.runs import save_run

LAYERS, HEADS = 30, 9
POOL = Pool(
    (
        Expert("base", "base", "Base model", "The shared model as it is.", "–", -1, licence="Apache-2.0"),
        Expert(
            "sentiment",
            "lora",
            "Sentiment",
            "Says whether a text is positive.",
            "Se",
            0,
            trained_on="SST-2",
            figure="0.90 accuracy (base 0.56)",
            examples=("A marvel of a film.",),
        ),
        Expert("emotion", "lora", "Emotion", "Names the emotion of a text.", "Em", 1, trained_on="emotion"),
        Expert(
            "math",
            "lora",
            "Word problems",
            "Solves small word problems step by step.",
            "Ma",
            3,
            trained_on="GSM8K",
            examples=("Tom has 3 apples and eats one.",),
        ),
        Expert("calculator", "tool", "Calculator", "Exact arithmetic.", "Ca", 4),
        Expert("units", "tool", "Units", "Converts units.", "Un", 5, ready=False, reason="pint is missing"),
    )
)
WORDS = (
    " The",
    " answer",
    " is",
    " found",
    " by",
    " adding",
    " the",
    " two",
    " parts",
    ".",
    " First",
    " take",
    " 37",
    " times",
    " 24",
    ",",
    " which",
    " is",
    " 888",
    ".",
    " Then",
    " add",
    " 15",
    " and",
    " you",
    " get",
    " 903",
    ".",
    "\n",
    "<b>",
    "x",
    "</b>",
    " So",
    " the",
    " result",
    " is",
    " 903",
    ".",
)


@dataclass(frozen=True)
class Status:
    phase: str = "ready"
    message: str = ""
    done: int = 0
    total: int = 0
    remedy: str = ""


@dataclass(frozen=True)
class RouterInfo:
    name: str
    title: str
    level: str
    paper: str | None
    trained_from: str
    ready: bool = True
    reason: str = ""
    figure: str = ""
    version: str = ""
    note: str = ""
    options: tuple[Mapping[str, Any], ...] = ()


NEIGHBOURS = {"name": "k", "type": "integer", "default": 32, "minimum": 1, "maximum": 500, "description": "Voters."}
ROUTERS = [
    RouterInfo("manual", "Manual weights", "prompt", None, "nothing", version="manual-shipped"),
    RouterInfo(
        "knn",
        "Nearest prompts",
        "prompt",
        "arXiv:2403.12031",
        "outcomes, labels",
        figure="+1.8 pts",
        version="knn-shipped-1a2b3c4d",
        options=(NEIGHBOURS,),
    ),
    RouterInfo("linear", "Linear policy", "prompt", "arXiv:2406.18665", "labels", version="linear-shipped-9f8e7d6c"),
    RouterInfo(
        "lora_mixer",
        "LoRA-Mixer gate",
        "gate",
        "arXiv:2507.00029",
        "outcomes",
        ready=True,
        version="lora_mixer-shipped-0",
    ),
    RouterInfo("mogu", "MoGU gate", "gate", "arXiv:2402.15180", "outcomes", ready=False, reason="untrained"),
]


def _layered(weights: np.ndarray, mixable: np.ndarray, step: int) -> np.ndarray:
    """Return a gate's weights (LAYERS, E) at a step. They change with tokens and layers, and tools get none."""
    experts = np.arange(len(weights))
    logits = np.log(weights + 0.05) + 1.6 * np.sin(experts * 2.1 + step / 5)
    logits = logits + 0.9 * np.sin(np.arange(LAYERS)[:, None] / 4 + experts * 1.3 + step / 9)
    return np.exp(logits) * mixable / (np.exp(logits) * mixable).sum(1, keepdims=True)


class ScriptedRuntime:
    """Answers every prompt with the same words; a gate's weights wander over tokens and layers."""

    def __init__(self, settings: Settings, *, delay: float = 0.0, ready_after: float = 0.0) -> None:
        self.settings, self.delay, self.ready_after = settings, delay, ready_after
        self.database = Database.of(settings)
        self.database.upgrade()
        self.pool = POOL
        self._count, self._lock, self._began = 0, threading.Lock(), None
        self.requests: list[RunRequest] = []
        self.refusal = ""  # why every run fails before it begins

    def close(self) -> None:
        self.database.close()

    def start(self) -> None:
        self._began = time.monotonic()

    def wait(self, timeout: float | None = None) -> None:
        while not self.is_ready:
            time.sleep(0.05)

    @property
    def is_ready(self) -> bool:
        return self._began is not None and time.monotonic() - self._began >= self.ready_after

    @property
    def status(self) -> Status:
        if self.is_ready:
            return Status()
        gone = 0 if self._began is None else (time.monotonic() - self._began) / self.ready_after
        return Status("downloading", "", int(98e6 * min(1, gone)), int(98e6))

    def routers(self) -> list[RouterInfo]:
        return ROUTERS

    def events(self, request: RunRequest) -> Iterator[Event]:
        """Yield the events of one run."""
        with self._lock:
            self._count += 1
            run_id = f"01run{time.time_ns():x}{self._count:04d}"
            self.requests.append(request)
        info = next((info for info in ROUTERS if info.name == request.router), None)
        if info is None:
            raise InvalidRequest("No such router.")
        if self.refusal:
            raise InvalidRequest(self.refusal, "Try again.")
        names = request.pool or tuple(expert.name for expert in self.pool.experts if expert.ready)
        seq, began, random = iter(range(10_000)), time.monotonic(), np.random.default_rng(3)
        head = lambda: {"run_id": run_id, "seq": next(seq), "at": time.monotonic() - began}  # noqa: E731
        observe = request.observe
        yield RunStarted(
            request.prompt,
            info.name,
            info.version,
            info.level,
            names,
            0,
            LAYERS,
            HEADS,
            observe.layer if observe else -1,
            observe.head if observe else -1,
            **head(),
        )
        weights = (
            normalised(request.override)
            if request.override
            else normalised([0.05, 0.08, 0.06, 0.62, 0.19, *[0.04] * len(names)][: len(names)])
        )
        evidence = (
            Neighbours(
                "kNN: 5 of 8 similar prompts were answered best by Word problems.",
                ("Ann has 3 pears <i>and</i> eats one. How many are left?", "What is 12 * 9?"),
                (0.81, 0.64),
                ("math", "calculator"),
            )
            if info.name == "knn"
            else Scores(
                "The linear policy scores Word problems highest.",
                tuple(float(x) for x in np.log(weights + 1e-6)),
                (("apples", 0.4), ("times", -0.1)),
            )
        )
        yield Decided(
            weights,
            weights,
            "override" if request.override else "argmax",
            evidence,
            np.full(len(names), 0.05, np.float32),
            **head(),
        )
        words = [f" {word}" if i else word for i, word in enumerate(request.prompt.split())]
        prompt = ("<|im_start|>", "user", "\n", *words, "<|im_end|>", "\n")
        mixable = self.pool.select(names).mixable
        is_gate = info.level == "gate"
        read = np.stack([_layered(weights, mixable, step) for step in range(len(prompt))]) if is_gate else None
        layered = None if read is None else read.astype(np.float16)
        yield PromptRead(prompt, layered, own=(3, len(prompt) - 2), **head())
        words = WORDS if not request.override else (*WORDS[:12], " something", " else", ".")
        if names[int(np.argmax(weights))] == "calculator":
            yield ToolCalled("calculator", "37 * 24 + 15", "903", True, 0.0004, **head())
        text, used = "", []
        for index, word in enumerate(words[: request.sampling.max_new_tokens]):
            if self.delay:
                time.sleep(self.delay)
            layer_weights = None
            token_weights = weights
            if is_gate:
                layered = _layered(weights, mixable, index)
                token_weights, layer_weights = layered.mean(0).astype(np.float32), layered.astype(np.float16)
            row = random.dirichlet(np.full(len(prompt) + index, 0.12)) * 0.4
            row[0] += 0.6
            attention = row.astype(np.float16) if observe else None
            likely = ((word, 0.62), (" a", 0.14), (" one", 0.08), (" it", 0.04), ("\n", 0.02))
            text += word
            used.append(token_weights)
            yield TokenGenerated(
                index,
                word,
                100 + sum(word.encode()),
                token_weights,
                layer_weights,
                attention,
                float(np.log(0.62)),
                1.21,
                likely,
                **head(),
            )
        total = time.monotonic() - began
        timings = {"encode_s": 0.011, "decide_s": 0.0021, "first_token_s": 0.31, "total_s": max(total, 0.5)}
        yield Finished(text, np.mean(used, axis=0), len(used), len(prompt), timings, "stop", **head())

    def run(self, request: RunRequest, *, session_id: str = "", record: bool = True) -> Iterator[Event]:
        return self._recorded([request], session_id, record)

    def run_pair(self, first: RunRequest, second: RunRequest, *, session_id: str = "") -> Iterator[Event]:
        return self._recorded([first, second], session_id, True)

    def _recorded(self, requests: list[RunRequest], session_id: str, record: bool) -> Iterator[Event]:
        """Yield the events. The run is stored before its last event, or when it is cut off."""
        streams = [self.events(request) for request in requests]
        seen: list[list[Event]] = [[] for _ in requests]
        open_runs = list(range(len(requests)))
        try:
            while open_runs:
                for side in list(open_runs):
                    event = next(streams[side])
                    seen[side].append(event)
                    if isinstance(event, Finished):
                        open_runs.remove(side)
                        if record:
                            self._save(seen[side], requests[side], session_id)
                    yield event
        finally:
            for side in open_runs:
                if record and seen[side]:
                    self._save(seen[side], requests[side], session_id)

    def _save(self, events: list[Event], request: RunRequest, session_id: str) -> None:
        with self.database.write() as session:
            save_run(
                session,
                events,
                prompt=request.prompt,
                sampling=request.sampling,
                base_model="scripted",
                session_id=session_id,
            )

    def attention(self, run_id: str, layer: int) -> tuple[np.ndarray, list[str]]:
        if not 0 <= layer < LAYERS:
            raise InvalidRequest("There is no such layer.", "Choose another.")
        size = 40
        random = np.random.default_rng(layer)
        heads = np.tril(random.gamma(0.1, 1.0, (HEADS, size, size)) + 1e-3)
        heads[:, :, 0] += heads.sum(-1)
        return (heads / heads.sum(-1, keepdims=True)).astype(np.float16), [f"t{i} " for i in range(size)]

    @property
    def attention_size(self) -> tuple[int, int]:
        return LAYERS, HEADS

    def attention_overview(self, run_id: str, on_layer: Callable[[int, int], None]) -> AttentionOverview:
        joint, small = None, []
        for layer in range(LAYERS):
            time.sleep(5 * self.delay)
            heads, tokens = self.attention(run_id, layer)
            joint = rolled(joint, heads)
            small.append(shrunk(heads, 20))
            on_layer(layer + 1, LAYERS)
        return AttentionOverview(np.stack(small), joint, tokens)

    def likelihoods(self, first: str, second: str) -> Likelihoods:
        return Likelihoods(-0.5, -1.25, -0.75, -0.25)

    def likeness(self) -> Likeness:
        random = np.random.default_rng(4)
        names = [expert.name for expert in self.pool.experts if expert.kind == "lora"]
        return likeness({name: {"m": (random.normal(size=(4, 30)), random.normal(size=(9, 4)))} for name in names})


def scripted(folder: Path, **options: float) -> ScriptedRuntime:
    """Return a scripted runtime over a fresh database in `folder`."""
    return ScriptedRuntime(Settings(data_dir=folder, cache_dir=folder / "cache", database_url=""), **options)


@pytest.fixture
def runtime(tmp_path: Path) -> ScriptedRuntime:
    """Return a loaded scripted runtime over a fresh database."""
    made = scripted(tmp_path)
    made.start()
    return made


@pytest.fixture
def gate_events(runtime: ScriptedRuntime) -> list[Event]:
    """Return a whole run of a gate with an observed head."""
    return list(runtime.events(RunRequest("What is 37 * 24 + 15?", "lora_mixer", observe=Observe(10, 3))))
