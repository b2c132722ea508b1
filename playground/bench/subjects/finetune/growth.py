"""Time fine-tunes on planted labels of growing number. Each prompt has ten labels, and is embedded once.

A size is measured in a process of its own, because the peak of a process never falls. What was there before the
fine-tune is subtracted: the labels themselves, their embeddings, and the libraries.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from playground.bench.base import Tell
from playground.core.preferences import LabelledPair
from playground.core.values import Expert, Pool
from playground.errors import InvalidRequest
from playground.learn.labels.dataset import Probes, build
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.learn.labels.trainer import Lesson, Taught, begin_training, train
from playground.routers.prompt.linear import LinearProbe

WIDTH, VOTES, PROBES, KINDS = 384, 10, 200, 12
STATUS = Path("/proc/self/status")
MEGABYTE = 1024.0


def run(sizes: Sequence[int], *, experts: int, objective: str, tell: Tell) -> dict[str, Any]:
    """Return seconds, megabytes and held-out accuracy by number of labels, and the growth between the sizes.

    Raise InvalidRequest for an unknown objective, and on a system without /proc.
    """
    LABEL_OBJECTIVES.get(objective)
    if not STATUS.is_file():
        raise InvalidRequest("Memory is read from /proc, which this system does not have.", "Run this on Linux.")
    found: dict[str, Any] = {}
    for labels in sizes:
        tell(f"{labels} labels, {experts} experts, {objective}")
        command = [sys.executable, "-m", __name__, str(labels), str(experts), objective]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[str(labels)] = json.loads(done.stdout.splitlines()[-1])
    small, middle, large = (found[str(labels)]["processor seconds"] for labels in sizes)
    return {
        "objective": objective,
        "experts": experts,
        "by labels": found,
        "times longer for ten times the labels": [round(middle / small, 2), round(large / middle, 2)],
    }


def one_size(labels: int, experts: int, objective: str) -> dict[str, Any]:
    """Return the figures of one fine-tune in this process."""
    parent, lesson = planted(labels, experts)
    before, begun, worked = _status("VmRSS"), time.perf_counter(), time.process_time()
    steps, taught = 0, None
    for step in train(begin_training(parent, lesson), LABEL_OBJECTIVES.get(objective)()):
        steps, taught = steps + 1, step
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    if not isinstance(taught, Taught):
        raise TypeError("a training ends with what was taught")
    used = _status("VmHWM") - before
    accuracy = taught.metrics["label_accuracy"].after.value
    return {
        "seconds": round(seconds, 2),
        "processor seconds": round(worked, 2),
        "steps": steps,
        "megabytes more": round(used, 1),
        "bytes a label": round(used * MEGABYTE**2 / labels),
        "megabytes before": round(before, 1),
        "held-out accuracy": round(accuracy, 3),
    }


def planted(labels: int, experts: int) -> tuple[LinearProbe, Lesson]:
    """Return a router that knows nothing, and labels on prompts of twelve kinds. Each kind has a best expert."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(KINDS, WIDTH))

    def drawn(count: int, word: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        kind = rng.integers(KINDS, size=count)
        x = kinds[kind] + rng.normal(0, 0.6, (count, WIDTH))
        unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        return [f"{word} {i}" for i in range(count)], unit, kind

    prompts, vectors, kind = drawn(max(labels // VOTES, 10), "prompt")
    probes, shown, _ = drawn(PROBES, "probe")
    names = tuple(f"expert{i}" for i in range(experts))
    scores = rng.normal(0, 2, (KINDS, experts))
    alone = np.eye(experts, dtype=np.float32)
    pairs = []
    for i in range(labels):
        a, b = rng.choice(experts, 2, replace=False)
        at = i % len(prompts)
        won = rng.random() < 1 / (1 + np.exp(scores[kind[at], b] - scores[kind[at], a]))
        pairs.append(LabelledPair(f"label{i}", prompts[at], names, alone[a], alone[b], 0.9 if won else 0.1))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    pool = Pool(tuple(Expert(name, "tool", name, name, name[:1], i % 10) for i, name in enumerate(names)))
    lesson = Lesson(
        labels=build(pairs, lambda texts: vectors[[place[text] for text in texts]]),
        pool=pool,
        descriptors=np.eye(experts, WIDTH, dtype=np.float32),
        probes=Probes(tuple(probes), shown),
    )
    return LinearProbe(names, torch.zeros(experts, WIDTH), torch.zeros(experts)), lesson


def _status(name: str) -> float:
    """Return a field of this process's status in megabytes."""
    for line in STATUS.read_text("utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / MEGABYTE
    raise KeyError(name)


if __name__ == "__main__":
    print(json.dumps(one_size(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
