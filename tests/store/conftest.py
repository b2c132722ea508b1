"""A temporary database, and a small run made of real events."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ulid import ULID

from playground.core.events import Decided, Event, Finished, RunStarted, TokenGenerated
from playground.core.values import Sampling, Scores
from playground.store.database import Database
from playground.store.runs import save_run

EXPERTS = ("base", "sentiment", "emotion", "math", "calculator", "units")
MakeRun = Callable[..., list[Event]]
SaveRun = Callable[..., str]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}")
    made.upgrade()
    yield made
    made.close()


@pytest.fixture
def make_run() -> MakeRun:
    def make(
        prompt: str = "What is 2 + 2?",
        *,
        expert: str = "math",
        pool: tuple[str, ...] = EXPERTS,
        text: str = "Four.",
        tokens: int = 3,
        layers: int = 30,
        version: str = "linear-shipped-0badf00d",
    ) -> list[Event]:
        run, rng = str(ULID()), np.random.default_rng(tokens)
        one_hot = np.eye(len(pool), dtype=np.float32)[pool.index(expert)]
        events: list[Event] = [
            RunStarted(prompt, "linear", version, "prompt", pool, 7, layers, 9, run_id=run, seq=0, at=0.0),
            Decided(
                one_hot,
                one_hot,
                "argmax",
                Scores("Highest score.", (1.0, 0.5), (("plus", 0.25),)),
                run_id=run,
                seq=1,
                at=0.01,
            ),
        ]
        for i in range(tokens):
            layer_weights = rng.dirichlet(np.ones(len(pool)), layers).astype(np.float16)
            attention = rng.random(i + 5).astype(np.float16)
            event = TokenGenerated(
                i,
                f" t{i}",
                100 + i,
                one_hot,
                layer_weights,
                attention,
                -0.5,
                1.25,
                ((" a", 0.5),),
                run_id=run,
                seq=2 + i,
                at=0.1 * i,
            )
            events.append(event)
        timings = {"encode_s": 0.01, "decide_s": 0.001, "first_token_s": 0.1, "total_s": 0.5}
        events.append(Finished(text, one_hot, tokens, 12, timings, "stop", run_id=run, seq=2 + tokens, at=0.5))
        return events

    return make


@pytest.fixture
def save(database: Database, make_run: MakeRun) -> SaveRun:
    def store(prompt: str = "What is 2 + 2?", **options: object) -> str:
        events = make_run(prompt, **options)
        with database.write() as session:
            save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
        return events[0].run_id

    return store
