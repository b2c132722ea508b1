"""The real encoder, the shipped example prompts, labels that a script gives on them, and a little data to train on."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from playground.core.preferences import LabelledPair
from playground.core.values import Expert, Pool
from playground.encode.base import describe
from playground.encode.encoder import Encoder
from playground.learn.labels import dataset
from playground.learn.labels.dataset import Probes
from playground.learn.labels.trainer import Lesson
from playground.learn.tasks import TASKS
from playground.routers.base import LabelSet
from playground.routers.examples import load_examples
from playground.settings import Settings

NAMES = tuple(dict.fromkeys(example.expert for example in load_examples()))


@dataclass(frozen=True, eq=False)
class World:
    """The example prompts by kind, embedded. `is_probe` (N,) are never fitted on or labelled."""

    encode: Callable[[list[str]], np.ndarray]
    prompts: list[str]
    vectors: np.ndarray
    kinds: np.ndarray
    is_probe: np.ndarray
    pool: Pool
    descriptors: np.ndarray
    seed: int = field(default=0)

    @property
    def probes(self) -> Probes:
        rows = np.flatnonzero(self.is_probe)
        return Probes(tuple(self.prompts[i] for i in rows), self.vectors[rows])

    def lesson(self, labels: LabelSet) -> Lesson:
        return Lesson(labels, self.pool, self.descriptors, self.probes, anchors=self.vectors[~self.is_probe])

    def labels(self, kind: str, winner: str, *, count: int = 60, seed: int = 0) -> LabelSet:
        """Return `count` labels on prompts of one kind, each for `winner` over another expert, drawn at random."""
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero((self.kinds == kind) & ~self.is_probe)
        pairs = []
        for i in range(count):
            loser = str(rng.choice([name for name in NAMES if name != winner]))
            a, b, target = self.pool.one_hot(winner), self.pool.one_hot(loser), 0.9
            if rng.random() < 0.5:
                a, b, target = b, a, 1 - target
            pairs.append(LabelledPair(f"{kind}-{seed}-{i}", self.prompts[rng.choice(rows)], NAMES, a, b, target))
        return dataset.build(pairs, self.encode)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    encoder = Encoder(Settings(_env_file=None, cache_dir=tmp_path_factory.mktemp("cache"), encoder=""))
    examples = load_examples()
    by_kind = {name: tuple(e.prompt for e in examples if e.expert == name and not e.probe) for name in NAMES}
    pool = Pool(tuple(Expert(name, "lora", name, name, name[:2], 0, examples=by_kind[name]) for name in NAMES))
    prompts = [example.prompt for example in examples]
    return World(
        encode=encoder.encode,
        prompts=prompts,
        vectors=encoder.encode(prompts),
        kinds=np.array([example.expert for example in examples]),
        is_probe=np.array([example.probe for example in examples]),
        pool=pool,
        descriptors=describe(encoder, pool),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with rows of two tasks, enough to train a step."""
    for name in ("sst2", "gsm8k"):
        folder = tmp_path / "data" / TASKS[name].folder
        folder.mkdir(parents=True)
        for split, count in (("train", 30), ("test", 4)):
            rows = [
                {
                    "prompt": f"{split} {name} {i}",
                    "answer": ("positive", "negative")[i % 2],
                    "solution": "1 + 1\n#### 2",
                }
                for i in range(count)
            ]
            with gzip.open(folder / f"{split}.jsonl.gz", "wt") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path / "data"
