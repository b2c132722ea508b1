"""Runs from request to last event on the tiny model: order, weights, tools, failures, cancelling, isolation."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.core.events import Decided, Event, Failed, Finished, PromptRead, RunStarted, TokenGenerated, ToolCalled
from playground.core.fold import fold_all
from playground.core.values import Context, Decision, Expert, Observe, Pool, RunRequest, Sampling, Text
from playground.errors import InvalidRequest
from playground.experts.base import Refused, Solution, Tool
from playground.experts.catalogue import load_catalogue
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import load_base
from playground.model.worker import Decoder
from playground.routers.base import Policy, Router, RouterSpec
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.gate.mogu import Mogu
from playground.serving.engine import Engine
from playground.serving.replay import Replay
from tests.tiny import write_tiny_expert

EXPERTS = ("base", "alpha", "beta", "calculator")
GREEDY = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=10)


class HashEncoder:
    """Texts to fixed random directions."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(sum(text.encode()) + len(text)).normal(size=384) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


class Calculator(Tool):
    """Knows one sum."""

    card = Expert("calculator", "tool", "Calculator", "Knows one sum.", "Ca", 9)

    def solve(self, prompt: str) -> Solution:
        if "17%" in prompt:
            return Solution("17% of 2340", "397.8", "17% of 2,340 is 397.8.")
        raise Refused("There is no calculation here.")


class Fixed(Policy):
    """Gives the weights it was made with, in the order of its experts."""

    spec = RouterSpec("fixed", "Fixed", "prompt", None, "nothing")

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__(tuple(weights))
        self.given = weights

    def decide(self, ctx: Context) -> Decision:
        if "break" in ctx.prompt:
            raise RuntimeError("a bug in this router")
        weights = np.array([self.given.get(name, 0) for name in ctx.pool.names], np.float32)
        weights /= weights.sum()
        return Decision(weights, Text("as told"))

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> "Fixed":
        raise NotImplementedError


@pytest.fixture(scope="module")
def engine(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    experts = tmp_path_factory.mktemp("experts")
    for slot, name in enumerate(("alpha", "beta")):
        write_tiny_expert(experts, name, slot, seed=slot)
    base = load_base(str(tiny_model_folder), torch.float32)
    adapters = [read_adapter(experts / name, name, base.model) for name in ("alpha", "beta")]
    bank = Bank(base.model)
    bank.stack(adapters)
    gate = LoraMixer(bank.names, layers=base.layers, width=base.width)
    torch.nn.init.normal_(gate.gate.matrix, std=4.0, generator=torch.Generator().manual_seed(5))
    dials = Mogu(bank.names, layers=base.layers, width=base.width)
    torch.nn.init.constant_(dials.gate.bias[:, 0], -9)  # closed to the usable variant, open to the last expert
    torch.nn.init.constant_(dials.gate.bias[:, 1], 9)
    routers: dict[str, Router] = {
        "alpha": Fixed({"base": 0.2, "alpha": 0.5, "beta": 0.3}),
        "tool": Fixed({"calculator": 0.7, "beta": 0.2, "base": 0.1}),
        "split": Fixed({"calculator": 0.5, "alpha": 0.4, "base": 0.1}),
        "lora_mixer": gate,
        "mogu": dials,
    }

    def resolve(request: RunRequest) -> tuple[Router, str]:
        if request.router not in routers:
            raise InvalidRequest(f"No router is called {request.router!r}.")
        return routers[request.router], request.version or f"{request.router}-1"

    decoder = Decoder(base, bank, max_batch=4)
    yield Engine(
        base,
        bank,
        decoder=decoder,
        encoder=HashEncoder(),
        max_prompt_tokens=200,
        pool=load_catalogue(experts).select(EXPERTS),
        answerers={"calculator": Calculator()},
        resolve=resolve,
    )
    decoder.close()


def of(events: Sequence[Event], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def tokens(events: Sequence[Event]) -> list[int]:
    return [event.token_id for event in of(events, TokenGenerated)]


def test_a_prompt_router_run_tells_everything_in_order(engine: Engine) -> None:
    events = list(engine.run(RunRequest("hello there", router="alpha", sampling=GREEDY, observe=Observe(1, 2))))
    assert [type(event) for event in events[:3]] == [RunStarted, Decided, PromptRead]
    assert [event.seq for event in events] == list(range(len(events)))
    assert all(a.at <= b.at for a, b in itertools.pairwise(events))
    started, decided, read, last = events[0], events[1], events[2], events[-1]
    assert started.pool == EXPERTS
    assert decided.weights == pytest.approx([0.2, 0.5, 0.3, 0])
    assert decided.propensity == pytest.approx([0, 1, 0, 0])  # the heaviest answers
    assert decided.scheme == "argmax"
    assert read.layer_weights is None
    assert isinstance(last, Finished)
    assert last.usage == pytest.approx([0, 1, 0, 0])
    assert last.prompt_tokens == len(read.tokens)
    for index, token in enumerate(of(events, TokenGenerated)):
        assert token.index == index
        assert token.attention is not None
        assert token.attention.shape == (last.prompt_tokens + index,)
        assert len(token.alternatives) == 5


def test_the_visitor_s_own_tokens_are_told_whatever_the_script(engine: Engine) -> None:
    for prompt in ("hello there", "so sad 😢", "你好 x", "שלום"):
        read = of(list(engine.run(RunRequest(prompt, router="alpha", sampling=GREEDY))), PromptRead)[0]
        first, end = read.own
        assert engine.base.tokenizer.decode(engine.base.chat_ids(prompt)[first:end]) == prompt


def test_a_shadow_decides_beside_and_changes_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = RunRequest("hello there", router="alpha", sampling=GREEDY)
    plain = list(engine.run(request))
    beside = Fixed({"base": 0.1, "beta": 0.9})
    monkeypatch.setattr(engine, "shadow", lambda run: (beside, f"beside-{run.version}"))
    events = list(engine.run(request))
    [decided] = of(events, Decided)
    assert decided.shadow == "beside-alpha-1"
    assert decided.shadow_weights == pytest.approx([0.1, 0, 0.9, 0])
    assert decided.weights == pytest.approx([0.2, 0.5, 0.3, 0])
    assert tokens(events) == tokens(plain)
    assert of(plain, Decided)[0].shadow == ""
    [by_hand] = of(list(engine.run(replace(request, override=(1, 0, 0, 0)))), Decided)
    assert by_hand.shadow == "", "a person decided, so there is nothing to compare with"
    [at_gate] = of(list(engine.run(replace(request, router="lora_mixer"))), Decided)
    assert at_gate.shadow == ""


def test_a_shadow_that_breaks_disturbs_no_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_run: object) -> tuple[Router, str]:
        raise InvalidRequest("Its files are gone.")

    for shadow in (broken, lambda _run: (_Breaking({}), "broken")):
        monkeypatch.setattr(engine, "shadow", shadow)
        events = list(engine.run(RunRequest("hello there", router="alpha", sampling=GREEDY)))
        assert isinstance(events[-1], Finished)
        assert of(events, Decided)[0].shadow == ""


class _Breaking(Fixed):
    """A router with a bug."""

    def decide(self, ctx: Context) -> Decision:
        raise RuntimeError("a bug in this router")


def test_serving_a_mixture_or_a_sample(engine: Engine) -> None:
    mixed = list(engine.run(RunRequest("hello", router="alpha", sampling=GREEDY, serve="mix")))
    assert of(mixed, TokenGenerated)[0].weights == pytest.approx([0.2, 0.5, 0.3, 0])
    counts = np.zeros(4)
    for seed in range(40):
        request = RunRequest("hello", router="alpha", serve="sample", sampling=Sampling(max_new_tokens=1, seed=seed))
        counts += of(list(engine.run(request)), Finished)[0].usage
    assert counts[1] > counts[0]
    assert counts[3] == 0
    assert set(counts.tolist()) != {0, 40}


def test_a_gate_run_has_weights_for_each_token_and_layer(engine: Engine) -> None:
    events = list(engine.run(RunRequest("hello there", router="lora_mixer", sampling=GREEDY)))
    assert [type(event) for event in events[:3]] == [RunStarted, PromptRead, Decided]
    read = events[1]
    assert read.layer_weights.shape == (len(read.tokens), 2, 4)
    assert read.layer_weights.sum(-1) == pytest.approx(1, abs=2e-3)
    for token in of(events, TokenGenerated):
        assert token.layer_weights.shape == (2, 4)
        assert token.weights.sum() == pytest.approx(1, abs=1e-5)
        assert token.weights == pytest.approx(token.layer_weights.astype(np.float32).mean(0), abs=2e-3)
        assert token.weights[3] == 0  # a tool cannot be mixed
    assert of(events, Finished)[0].usage.sum() == pytest.approx(1, abs=1e-5)
    narrowed = list(engine.run(RunRequest("hello there", router="lora_mixer", sampling=GREEDY, pool=("base", "beta"))))
    assert of(narrowed, TokenGenerated)[0].layer_weights.shape == (2, 2)


def test_a_gate_tells_what_the_prompt_as_a_whole_speaks_for(engine: Engine) -> None:
    gate = engine.resolve(RunRequest("any", "lora_mixer"))[0].gate
    torch.nn.init.normal_(gate.prompt_matrix, generator=torch.Generator().manual_seed(2))
    events = list(engine.run(RunRequest("hello there", router="lora_mixer", sampling=GREEDY)))
    evidence = of(events, Decided)[0].evidence
    assert set(evidence.experts) == {"base", "alpha", "beta"}  # not the tool, which a gate cannot mix
    assert list(evidence.scores) == sorted(evidence.scores, reverse=True)
    embedding = torch.from_numpy(engine.encoder.encode(["hello there"])[0])
    expected = dict(zip(gate.experts, (gate.prompt_matrix @ embedding).tolist(), strict=True))
    told = dict(zip(evidence.experts, evidence.scores, strict=True))
    assert told == pytest.approx(expected, abs=1e-4)
    narrowed = list(engine.run(RunRequest("hello there", router="lora_mixer", sampling=GREEDY, pool=("base", "beta"))))
    fewer = of(narrowed, Decided)[0].evidence
    assert dict(zip(fewer.experts, fewer.scores, strict=True)) == {name: told[name] for name in ("base", "beta")}


def test_a_gate_that_turns_at_the_end_of_the_prompt_says_so(engine: Engine) -> None:
    request = RunRequest("one two three four five six seven", router="mogu", sampling=GREEDY)
    decided = of(list(engine.run(request)), Decided)[0]
    assert decided.weights.argmax() == 0  # the prompt is read by the base but for its last tokens
    assert "most to Base model (" in decided.evidence.sentence
    assert decided.evidence.sentence.endswith("%), at its last token to Beta (100%).")
    alone = of(list(engine.run(replace(request, pool=("base",)))), Decided)[0]
    assert alone.evidence.sentence.endswith("most to Base model (100%).")


def test_a_tool_answers_in_its_own_words(engine: Engine) -> None:
    events = list(engine.run(RunRequest("What is 17% of 2,340?", router="tool", sampling=GREEDY)))
    assert of(events, ToolCalled)[0].result == "397.8"
    last = events[-1]
    assert last.text == "17% of 2,340 is 397.8."
    assert last.usage == pytest.approx([0, 0, 0, 1])
    assert last.reason == "stop"


def test_a_refusing_tool_hands_over_to_the_base(engine: Engine) -> None:
    events = list(engine.run(RunRequest("hello", router="tool", sampling=GREEDY)))
    assert not of(events, ToolCalled)[0].ok
    assert events[-1].usage == pytest.approx([1, 0, 0, 0])  # beta has less than an even share
    assert fold_all(events).handover == "calculator could not answer this, so base did."
    drawn = list(engine.run(RunRequest("hello", router="tool", sampling=replace(GREEDY, seed=1), serve="sample")))
    assert not of(drawn, ToolCalled)[0].ok
    assert drawn[-1].usage == pytest.approx([1, 0, 0, 0])
    blended = list(engine.run(RunRequest("hello", router="tool", sampling=GREEDY, serve="mix")))
    assert blended[-1].usage == pytest.approx([0.8, 0, 0.2, 0])
    split = list(engine.run(RunRequest("hello", router="split", sampling=GREEDY)))
    assert not of(split, ToolCalled)[0].ok
    assert split[-1].usage == pytest.approx([0, 1, 0, 0])  # the router had a reason for alpha too
    assert fold_all(split).handover == "calculator could not answer this, so alpha did."
    without = list(engine.run(RunRequest("hello", router="tool", sampling=GREEDY, pool=("alpha", "calculator"))))
    assert without[-1].usage == pytest.approx([1, 0])
    forced = list(engine.run(RunRequest("hello", router="alpha", sampling=GREEDY, override=(0, 0, 0, 1))))
    assert forced[-1].usage == pytest.approx([1, 0, 0, 0])
    only_tool = list(engine.run(RunRequest("hello", router="tool", sampling=GREEDY, pool=("calculator",))))
    assert isinstance(only_tool[-1], Failed)
    assert "Add the base" in only_tool[-1].remedy


def test_override_replaces_router_and_gate(engine: Engine) -> None:
    for router in ("alpha", "lora_mixer"):
        request = RunRequest("hello", router=router, sampling=GREEDY, override=(0, 1, 3, 0))
        events = list(engine.run(request))
        assert of(events, Decided)[0].scheme == "override"
        assert of(events, TokenGenerated)[0].weights == pytest.approx([0, 0.25, 0.75, 0])
        assert of(events, TokenGenerated)[0].layer_weights is None


@pytest.mark.parametrize(
    "request_",
    [
        RunRequest("   "),
        RunRequest("hello", router="nobody"),
        RunRequest("hello", router="alpha", pool=("stranger",)),
        RunRequest("hello", router="alpha", override=(1.0,)),
        RunRequest("hello", router="alpha", observe=Observe(99, 0)),
        RunRequest("hello", router="lora_mixer", pool=("calculator",)),
    ],
)
def test_what_cannot_be_served_is_refused_before_it_starts(engine: Engine, request_: RunRequest) -> None:
    with pytest.raises(InvalidRequest) as caught:
        list(engine.run(request_))
    assert caught.value.message


def test_a_prompt_too_long_for_the_model_says_so(engine: Engine) -> None:
    events = list(engine.run(RunRequest("x" * 4000, router="alpha", sampling=GREEDY)))
    assert isinstance(events[-1], Failed)
    assert "Shorten it" in events[-1].remedy


def test_a_prompt_longer_than_the_host_allows_says_so(engine: Engine) -> None:
    [*_, last] = engine.run(RunRequest("word " * 60, router="alpha", sampling=GREEDY))
    assert isinstance(last, Failed)
    assert "at most 200" in last.message
    assert "PLAYGROUND_MAX_PROMPT_TOKENS" in last.remedy


def test_a_gate_that_reads_the_whole_prompt_has_a_bound_of_its_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.serving.mixture.WHOLE_PROMPT", 8)
    request = RunRequest("a prompt of some words", router="lora_mixer", sampling=GREEDY)
    assert isinstance(list(engine.run(request))[-1], Finished)
    gate = engine.mixtures.gate_of(engine.resolve(request)[0], engine.pool)
    monkeypatch.setattr(gate, "reads_whole_prompt", True, raising=False)
    [*_, last] = engine.run(request)
    assert isinstance(last, Failed)
    assert "one piece" in last.message


def test_a_bug_in_a_router_ends_its_run_only_and_tells_no_secrets(engine: Engine) -> None:
    broken_request = RunRequest("break", router="alpha", sampling=GREEDY)
    events = list(engine.run_together([broken_request, RunRequest("hi", router="lora_mixer", sampling=GREEDY)]))
    first, second = events[0].run_id, events[1].run_id
    [broken] = [event for event in events if event.run_id == first and isinstance(event, Failed)]
    assert "a bug in this router" not in broken.message + broken.remedy
    assert first in broken.remedy
    assert isinstance([event for event in events if event.run_id == second][-1], Finished)


def test_closing_cancels_within_a_token_and_frees_the_batch(engine: Engine) -> None:
    running = engine.run(RunRequest("hello", router="lora_mixer", sampling=Sampling(max_new_tokens=400)))
    for event in running:
        if isinstance(event, TokenGenerated):
            break
    running.close()
    follow = list(engine.run(RunRequest("hello", router="lora_mixer", sampling=GREEDY)))
    assert isinstance(follow[-1], Finished)
    names = [job for job in threading.enumerate() if job.name == "model"]
    assert len(names) == 1


def test_two_runs_in_one_batch_equal_their_runs_alone(engine: Engine) -> None:
    one = RunRequest("hello there", router="lora_mixer", sampling=GREEDY)
    two = RunRequest("hello there", router="alpha", sampling=GREEDY)
    together = list(engine.run_together([one, two]))
    assert [type(event) for event in together[:2]] == [RunStarted, RunStarted]
    for index, request in enumerate((one, two)):
        mine = [event for event in together if event.run_id == together[index].run_id]
        alone = list(engine.run(request))
        assert tokens(mine) == tokens(alone)
        for a, b in zip(of(mine, TokenGenerated), of(alone, TokenGenerated), strict=True):
            assert a.weights == pytest.approx(b.weights, abs=1e-5)


def test_visitors_at_once_never_see_each_others_weights(engine: Engine) -> None:
    overrides = [(1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0.5, 0.5, 0)]
    requests = [RunRequest("hello there", router="lora_mixer", sampling=GREEDY, override=o) for o in overrides]
    expected = [tokens(list(engine.run(request))) for request in requests]
    got: dict[int, list[Event]] = {}
    barrier = threading.Barrier(4)

    def visit(index: int) -> None:
        barrier.wait()
        got[index] = list(engine.run(requests[index]))

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, override in enumerate(overrides):
        assert tokens(got[index]) == expected[index]
        assert {event.run_id for event in got[index]} == {got[index][0].run_id}
        for token in of(got[index], TokenGenerated):
            assert token.weights == pytest.approx(override)


def test_the_same_seed_gives_the_same_run(engine: Engine) -> None:
    request = RunRequest("hello", router="lora_mixer", sampling=Sampling(temperature=1.5, seed=3, max_new_tokens=12))
    assert tokens(list(engine.run(request))) == tokens(list(engine.run(request)))


def test_attention_can_be_had_after_the_run_for_any_layer(engine: Engine) -> None:
    events = list(engine.run(RunRequest("hello there", router="lora_mixer", sampling=GREEDY, observe=Observe(1, 2))))
    weights, texts = Replay(engine).attention(events, 1)
    assert weights.shape == (4, len(texts), len(texts))
    assert weights.astype(np.float32).sum(-1) == pytest.approx(1, abs=5e-3)
    token = of(events, TokenGenerated)[-1]
    seen = events[-1].prompt_tokens + token.index
    live = token.attention.astype(np.float32)
    assert weights[2, seen - 1, :seen].astype(np.float32) == pytest.approx(live, abs=5e-3)
    with pytest.raises(InvalidRequest):
        Replay(engine).attention(events, 9)


def test_pool_of_one(engine: Engine) -> None:
    events = list(engine.run(RunRequest("hello", router="lora_mixer", sampling=GREEDY, pool=("beta",))))
    assert of(events, Finished)[0].usage == pytest.approx([1.0])
    assert Pool(engine.pool.experts[:1]).names == ("base",)
