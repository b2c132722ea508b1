"""The parts put together on the tiny model: loading, recording, cancelling, failing to load."""

from collections.abc import Iterator

import numpy as np
import pytest

from playground.core.events import Event, Finished, TokenGenerated, to_dict
from playground.core.values import Observe, RunRequest, Sampling
from playground.errors import InvalidRequest, NotReady
from playground.experts.base import TOOLS
from playground.experts.catalogue import load_catalogue
from playground.serving.loading import load_bank, load_model
from playground.serving.runtime import Runtime
from playground.settings import Settings
from playground.store.runs import load_events, load_run, recent_runs

SHORT = Sampling(temperature=0, max_new_tokens=6)


@pytest.fixture
def runtime(tiny_settings: Settings) -> Iterator[Runtime]:
    made = Runtime(tiny_settings)
    yield made
    made.close()


def stored(runtime: Runtime, run_id: str) -> list[Event]:
    with runtime.database.read() as session:
        return load_events(session, run_id)


def test_a_fresh_runtime_names_its_experts_before_any_model_is_loaded(runtime: Runtime) -> None:
    assert runtime.pool.names == ("base", "alpha", "beta", *TOOLS)
    assert not runtime.is_ready
    assert runtime.routers() == []
    with pytest.raises(NotReady):
        list(runtime.run(RunRequest("hello")))


def test_runs_are_stored_before_their_last_event_and_reopen_the_same(runtime: Runtime) -> None:
    runtime.wait(120)
    assert runtime.status.phase == "ready"
    names = {info.name: info for info in runtime.routers()}
    assert names["knn"].ready
    assert not names["lora_mixer"].ready  # the shipped gate is for another model
    assert "made for a model of 30 layers" in names["lora_mixer"].reason

    events = []
    for event in runtime.run(RunRequest("hello", router="knn", sampling=SHORT, observe=Observe(1, 1)), session_id="me"):
        events.append(event)
        if isinstance(event, Finished):
            assert [to_dict(e) for e in stored(runtime, event.run_id)] == [to_dict(e) for e in events]
    run_id = events[0].run_id
    with runtime.database.read() as session:
        assert load_run(session, run_id).prompt == "hello"
        assert [run.id for run in recent_runs(session, session_id="me")] == [run_id]
    weights, texts = runtime.attention(run_id, 0)
    assert weights.shape == (4, len(texts), len(texts))

    alone = np.eye(len(runtime.pool))[:2]
    pair = [RunRequest("hello", router="manual", override=tuple(row), sampling=SHORT) for row in alone]
    told = list(runtime.run_pair(*pair))
    assert told[0].run_id != told[1].run_id
    assert all(stored(runtime, event.run_id) for event in told[:2])

    running = runtime.run(RunRequest("hello", router="knn", sampling=Sampling(max_new_tokens=300)))
    for event in running:
        if isinstance(event, TokenGenerated):
            break
    running.close()
    with runtime.database.read() as session:
        cancelled = load_run(session, event.run_id)
    assert cancelled.finish_reason == "cancelled"

    with pytest.raises(InvalidRequest):
        list(runtime.run(RunRequest("hello", router="nobody")))
    long_prompt = runtime.run(RunRequest("word " * 50_000, router="knn", sampling=SHORT))
    assert len(next(long_prompt).prompt) == runtime.settings.max_prompt_chars
    long_prompt.close()


def test_a_model_that_cannot_be_loaded_says_why_and_can_be_tried_again(tiny_settings: Settings) -> None:
    runtime = Runtime(tiny_settings.model_copy(update={"base_model": "/nowhere/at/all"}))
    with pytest.raises(NotReady, match="no model folder"):
        runtime.wait(120)
    assert runtime.status.phase == "failed"
    assert runtime.status.remedy
    runtime.start()
    with pytest.raises(NotReady):
        runtime.wait(120)


def test_an_adapter_is_found_whatever_its_folder_is_called(tiny_settings: Settings) -> None:
    (tiny_settings.experts_dir / "alpha").rename(tiny_settings.experts_dir / "Alpha v2")
    nameless = tiny_settings.experts_dir / "beta"
    (nameless / "card.json").unlink()
    nameless.rename(tiny_settings.experts_dir / "My-LoRA")
    base = load_model(tiny_settings)
    bank, pool = load_bank(base, load_catalogue(tiny_settings.experts_dir))
    assert set(bank.names) == {"base", "alpha", "my_lora"}
    assert all(expert.ready for expert in pool.experts)
