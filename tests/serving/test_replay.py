"""Finished runs read again on the tiny model: held layers, all heads and their rollout, likelihoods, likeness."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from playground.actions.export import run_csv
from playground.core.events import PromptRead, RunStarted, TokenGenerated, events_from_json, events_to_json
from playground.core.fold import fold_all
from playground.core.route_measures import rollout, shrunk
from playground.core.values import Observe, RunRequest
from playground.errors import InvalidRequest
from playground.exchange.records import safe_text
from playground.experts.catalogue import load_catalogue
from playground.serving.engine import Engine
from playground.serving.likeness import adapters_likeness
from playground.serving.replay import THUMBNAIL, Replay
from playground.ui import wire
from tests.model.scripts import SCRIPTS
from tests.serving import test_engine
from tests.serving.test_engine import GREEDY, of, tokens
from tests.tiny import write_tiny_expert

engine = test_engine.engine  # the fixture
BETA = (0.0, 0.0, 1.0, 0.0)


def ask(router: str = "alpha", prompt: str = "hello there", **options: object) -> RunRequest:
    return RunRequest(prompt, router=router, sampling=GREEDY, **options)  # type: ignore[arg-type]


def stored(engine: Engine, request: RunRequest) -> list:
    """Return the events of a run, under the name by which its router is found again: these routers share one name."""
    events = list(engine.run(request))
    return [replace(events[0], router=request.router), *events[1:]]


def layered(events: list) -> np.ndarray:
    return np.stack([event.layer_weights for event in of(events, TokenGenerated)])


def test_weights_hold_in_their_layers_and_the_router_decides_in_the_rest(engine: Engine) -> None:
    held = list(engine.run(ask(override=BETA, override_layers=(1,))))
    [started] = of(held, RunStarted)
    assert (started.held, started.held_layers) == (BETA, (1,))
    assert layered(held)[:, 0] == pytest.approx(np.tile([0, 1, 0, 0], (len(tokens(held)), 1)))
    assert layered(held)[:, 1] == pytest.approx(np.tile(BETA, (len(tokens(held)), 1)))
    free, gated = (
        list(engine.run(ask("lora_mixer"))),
        list(engine.run(ask("lora_mixer", override=BETA, override_layers=(1,)))),
    )
    assert layered(gated)[:, 1] == pytest.approx(np.tile(BETA, (len(tokens(gated)), 1)))
    assert layered(gated)[0, 0] == pytest.approx(layered(free)[0, 0], abs=1e-3)  # layer 1 comes after


def test_holding_what_the_router_chose_anyway_changes_nothing(engine: Engine) -> None:
    plain, held = list(engine.run(ask())), list(engine.run(ask(override=(0, 1, 0, 0), override_layers=(0,))))
    assert tokens(held) == tokens(plain)
    both = list(engine.run(ask(override=BETA, override_layers=(0, 1))))
    assert tokens(both) == tokens(list(engine.run(ask(override=BETA))))


@pytest.mark.parametrize(("weights", "layers"), [(None, (0,)), (BETA, (2,)), (BETA, (-1,)), ((0.5, 0, 0, 0.5), (0,))])
def test_layers_that_cannot_be_held_are_refused(engine: Engine, weights: tuple | None, layers: tuple) -> None:
    with pytest.raises(InvalidRequest):
        list(engine.run(ask(override=weights, override_layers=layers)))


@pytest.mark.parametrize("router", ["alpha", "lora_mixer"])
def test_a_held_run_is_read_again_as_it_was(engine: Engine, router: str) -> None:
    events = stored(engine, ask(router, override=BETA, override_layers=(0,), observe=Observe(1, 2)))
    heads, _ = Replay(engine).attention(events, 1)
    last = of(events, TokenGenerated)[-1].attention
    assert heads[2, len(last) - 1, : len(last)] == pytest.approx(last, abs=2e-3)


def test_the_overview_holds_every_head_and_their_rollout(engine: Engine) -> None:
    events = list(engine.run(ask("lora_mixer")))
    seen: list[tuple[int, int]] = []
    found = Replay(engine).overview(events, lambda done, layers: seen.append((done, layers)))
    whole = [Replay(engine).attention(events, layer)[0].astype(np.float32) for layer in range(2)]
    assert seen == [(1, 2), (2, 2)]
    assert found.heads == pytest.approx(np.stack([shrunk(layer, THUMBNAIL) for layer in whole]), abs=2e-3)
    assert found.rollout == pytest.approx(rollout(whole), abs=2e-3)
    assert found.rollout.sum(-1) == pytest.approx(np.ones(len(found.tokens)), abs=1e-4)


@pytest.mark.parametrize("router", ["alpha", "lora_mixer"])
def test_a_run_read_in_pieces_shows_what_one_pass_shows(engine: Engine, router: str) -> None:
    first, second = stored(engine, ask(router)), stored(engine, ask("lora_mixer"))
    replay = Replay(engine)
    whole = replay.attention(first, 1)[0], replay.overview(first, lambda *_: None), replay.likelihoods(first, second)
    replay.base = replace(engine.base, support=replace(engine.base.support, piece=7))
    pieces = replay.attention(first, 1)[0], replay.overview(first, lambda *_: None), replay.likelihoods(first, second)
    assert pieces[0] == pytest.approx(whole[0], abs=2e-3)
    assert pieces[1].heads == pytest.approx(whole[1].heads, abs=1e-4)
    assert pieces[1].rollout == pytest.approx(whole[1].rollout, abs=1e-4)
    assert vars(pieces[2]) == pytest.approx(vars(whole[2]), abs=1e-4)


def test_a_long_run_has_a_cell_for_several_tokens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    events = stored(engine, ask())
    heads, texts = Replay(engine).attention(events, 1)
    monkeypatch.setattr("playground.serving.replay.MAP_SIDE", 16)
    small, names = Replay(engine).attention(events, 1)
    assert small.shape == (len(heads), len(names), len(names))
    assert len(names) <= 16
    assert "".join(names) == "".join(texts)
    assert small.astype(np.float32).sum(-1) == pytest.approx(1, abs=5e-3)


def test_an_overview_can_be_ended_between_layers(engine: Engine) -> None:
    def stop(done: int, layers: int) -> None:
        raise InvalidRequest("Stopped.")

    with pytest.raises(InvalidRequest, match="Stopped"):
        Replay(engine).overview(stored(engine, ask()), stop)
    assert tokens(list(engine.run(ask())))  # the model's thread goes on


def test_likelihoods_are_those_the_runs_were_written_with(engine: Engine) -> None:
    first, second = stored(engine, ask()), stored(engine, ask("lora_mixer"))
    found = Replay(engine).likelihoods(first, second)
    for events, own in ((first, found.first_by_first), (second, found.second_by_second)):
        assert own == pytest.approx(np.mean([event.logprob for event in of(events, TokenGenerated)]), abs=1e-3)
    other = Replay(engine).likelihoods(second, first)
    assert (other.first_by_second, other.second_by_first) == pytest.approx(
        (found.second_by_first, found.first_by_second)
    )
    # greedy answers: no routing likes the other's answer better than it likes its own, here
    assert found.first_by_second < found.first_by_first
    assert found.second_by_first < found.second_by_second


def test_a_tools_routing_has_no_likelihood(engine: Engine) -> None:
    by_tool = stored(engine, ask("tool", "What is 17% of 2,340?"))
    by_model = stored(engine, ask("alpha", "What is 17% of 2,340?"))
    found = Replay(engine).likelihoods(by_tool, by_model)
    assert (found.first_by_first, found.second_by_first) == (None, None)
    assert found.first_by_second is not None
    with pytest.raises(InvalidRequest):
        Replay(engine).likelihoods(by_model, by_model[:3])


def test_adapters_are_compared_from_their_folders(engine: Engine, tmp_path: Path) -> None:
    for slot, name in enumerate(("one", "other")):
        write_tiny_expert(tmp_path, name, slot, seed=slot)
    there = SimpleNamespace(base=engine.base, pool=load_catalogue(tmp_path))
    found = adapters_likeness(there)  # type: ignore[arg-type]  # what it reads of an engine
    assert found.names == ("one", "other")
    assert 0 < found.reading[0, 1] < 0.3
    assert found.chance == pytest.approx(2 / 48)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_prompt_can_be_read_live_reopened_and_exported(engine: Engine, script: str) -> None:
    prompt = SCRIPTS[script]
    events = stored(engine, ask("lora_mixer", prompt))
    [read] = of(events, PromptRead)
    first, end = read.own
    assert "".join(read.tokens[first:end]) == prompt
    again = events_from_json(events_to_json(events))
    assert of(again, PromptRead)[0].tokens == read.tokens
    lines = [json.loads(line) for line in wire.lines(events, engine.pool).splitlines()]
    assert [line["tokens"] for line in lines if line["kind"] == "prompt"] == [list(read.tokens)]
    _, names = Replay(engine).attention(events, 0)
    assert names[: len(read.tokens)] == list(read.tokens)
    for token, name in zip(of(events, TokenGenerated), names[len(read.tokens) :], strict=True):
        is_special = token.token_id in engine.base.tokenizer.all_special_ids
        assert name == (engine.base.tokenizer.decode([token.token_id]) if is_special else token.text)
    rows = list(csv.reader(io.StringIO(run_csv(fold_all(events)))))[1:]
    assert [row[1] for row in rows[first:end]] == [safe_text(text) for text in read.tokens[first:end]]


def test_the_chat_templates_tokens_are_counted_apart(engine: Engine) -> None:
    state = fold_all(engine.run(ask(prompt="hello")))
    assert state.finished is not None
    assert state.finished.prompt_tokens - state.template_tokens == len("hello")
