import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from playground.core.values import Context, Expert, Pool
from playground.encode.base import describe
from playground.routers.base import ExampleSet

WIDTH = 48


class WordEncoder:
    """A small real encoder: the sum of a fixed random vector per word. Texts that share words are near."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._one(text) for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)

    def _one(self, text: str) -> np.ndarray:
        total = np.full(WIDTH, 1e-3)
        for word in text.lower().split()[:200]:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
            total += np.random.default_rng(seed).standard_normal(WIDTH)
        return (total / np.linalg.norm(total)).astype(np.float32)


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def pool() -> Pool:
    about = {"base": "anything at all", "poetry": "rhymes and verses", "sums": "adding and dividing", "maps": "roads"}
    return Pool(
        tuple(Expert(n, "base" if n == "base" else "lora", n, t, n[:2], i) for i, (n, t) in enumerate(about.items()))
    )


@pytest.fixture
def examples(encoder, pool) -> ExampleSet:
    words = {
        "base": "tell explain who why",
        "poetry": "rhyme verse sonnet ode",
        "sums": "add divide total minus",
        "maps": "road route north town",
    }
    prompts, answers = [], []
    for i, name in enumerate(pool.names):
        one, two, three, four = words[name].split()
        for n in range(6):
            prompts.append(f"{one} {two} {three} {four} number{n} of {name}{n % 3}")
            answers.append(i)
    return ExampleSet(pool.names, tuple(prompts), encoder.encode(prompts), np.array(answers))


@pytest.fixture
def context(encoder, pool):
    def make(prompt: str, among: Pool | None = None) -> Context:
        chosen = among or pool
        return Context(prompt, chosen, encoder.encode([prompt])[0], describe(encoder, chosen))

    return make
