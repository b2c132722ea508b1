"""The decode loop: the library's own `generate`, token for token; batches that rows join and leave; observation."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from playground.core.values import Observe, Sampling
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.model.decode import Batch, Row, Step
from playground.model.routing import Routing, RowRouting, routed
from playground.model.sampling import Sampler
from playground.model.scoring import answer_logprobs
from playground.routers.base import GateRun
from playground.routers.parts import LinearGate

GREEDY = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=16)
PROMPTS = ("one", "a somewhat longer prompt", "?")


def gated(gate: LinearGate) -> RowRouting:
    return RowRouting(gate=gate, run=GateRun(0))


def random_gate(base: LanguageModel, bank: Bank, seed: int) -> LinearGate:
    gate = LinearGate(bank.names, base.layers, base.width, top_k=3, temperature=1.0)
    torch.nn.init.normal_(gate.matrix, std=3.0, generator=torch.Generator().manual_seed(seed))
    return gate.eval().requires_grad_(False)


def make_row(base: LanguageModel, prompt: str, routing: RowRouting, observe: Observe | None = None) -> Row:
    return Row(base.chat_ids(prompt), routing, Sampler(GREEDY, base.model.config.vocab_size), observe)


def alone(base: LanguageModel, bank: Bank, row: Row, tokens: int = 16) -> list[Step]:
    batch = Batch(base, bank)
    _, first = batch.join(row)
    return [first, *(batch.step()[0] for _ in range(tokens - 1))]


def ids(steps: list[Step]) -> list[int]:
    return [step.drawn.token_id for step in steps]


def keeping(maps: dict[int, torch.Tensor]) -> Callable[[int, int, torch.Tensor], None]:
    """Return what puts the attention of each layer into `maps`."""
    return lambda layer, _first, attention: maps.__setitem__(layer, attention)


def constant(*weights: float) -> RowRouting:
    return RowRouting(constant=torch.tensor(weights))


def test_unrouted_equals_the_library(tiny_base: LanguageModel, bank: Bank, tiny_model_folder: Path) -> None:
    plain = load_base(str(tiny_model_folder), torch.float32)
    prompt = torch.tensor([plain.chat_ids(PROMPTS[1])])
    expected = plain.model.generate(prompt, max_new_tokens=16, min_new_tokens=16, do_sample=False)[0, prompt.shape[1] :]
    free = make_row(tiny_base, PROMPTS[1], constant(1, 0, 0, 0))
    forbidden = expected.tolist()
    got = ids(alone(tiny_base, bank, free))
    end = next((i for i, token in enumerate(got) if token in tiny_base.end_ids), 16)
    assert got[:end] == forbidden[:end]


def test_one_expert_equals_peft_token_for_token(
    tiny_base: LanguageModel, bank: Bank, tiny_model_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    model = PeftModel.from_pretrained(
        load_base(str(tiny_model_folder), torch.float32).model, adapter_folders["plain"]
    ).merge_and_unload()
    text = torch.tensor([tiny_base.chat_ids(PROMPTS[0])])
    expected = []
    with torch.inference_mode():
        for _ in range(12):
            token = model(input_ids=text).logits[0, -1].argmax()
            expected.append(int(token))
            text = torch.cat([text, token.view(1, 1)], dim=1)
    assert ids(alone(tiny_base, bank, make_row(tiny_base, PROMPTS[0], constant(0, 1, 0, 0)), 12)) == expected


def test_cached_decoding_gives_the_weights_of_one_full_pass(tiny_base: LanguageModel, bank: Bank) -> None:
    gate = random_gate(tiny_base, bank, 0)
    row = make_row(tiny_base, PROMPTS[1], gated(gate))
    steps = alone(tiny_base, bank, row, 8)
    call = Routing([gated(gate)], len(bank))
    with torch.inference_mode(), routed(call):
        logits = tiny_base.model(input_ids=torch.tensor([row.ids])).logits[0]
    whole = call.stacked(tiny_base.layers)
    assert whole is not None
    start = len(row.ids) - 8 - 1
    for index, step in enumerate(steps):
        assert step.layer_weights is not None
        assert step.layer_weights.shape == (tiny_base.layers, len(bank))
        torch.testing.assert_close(torch.from_numpy(step.layer_weights), whole[0, start + index], atol=1e-4, rtol=0)
        assert step.drawn.token_id == int(logits[start + index].argmax())


def test_rows_join_and_leave_without_a_trace(tiny_base: LanguageModel, bank: Bank) -> None:
    """Each row of a batch, whenever it joined and whoever left, has the tokens of its run alone."""
    routings = [
        gated(random_gate(tiny_base, bank, 1)),
        constant(0, 0, 1, 0),
        constant(1, 0, 0, 0),
    ]
    expected = [
        ids(alone(tiny_base, bank, make_row(tiny_base, prompt, routing), 12))
        for prompt, routing in zip(PROMPTS, routings, strict=True)
    ]
    rows = [make_row(tiny_base, prompt, routing) for prompt, routing in zip(PROMPTS, routings, strict=True)]
    batch = Batch(tiny_base, bank)
    made: dict[int, list[int]] = {}
    for turn in range(20):
        if turn in (0, 3, 5):
            index = (0, 3, 5).index(turn)
            made[index] = [batch.join(rows[index])[1].drawn.token_id]
        live = list(batch.rows)
        for row, step in zip(live, batch.step(), strict=True):
            index = rows.index(row)
            made[index].append(step.drawn.token_id)
            if len(made[index]) == 12:
                batch.leave(row)
        if not batch.rows:
            break
    assert [made[i] for i in range(3)] == expected


def test_observing_changes_no_token_and_shows_the_attention(tiny_base: LanguageModel, bank: Bank) -> None:
    routing = gated(random_gate(tiny_base, bank, 2))
    blind = alone(tiny_base, bank, make_row(tiny_base, PROMPTS[1], routing))
    row = make_row(tiny_base, PROMPTS[1], routing, Observe(layer=1, head=3))
    seen = alone(tiny_base, bank, row)
    assert ids(seen) == ids(blind)
    maps: dict[int, torch.Tensor] = {}
    call = Routing([routing], len(bank), on_attention=keeping(maps), layers_read={1})
    with torch.inference_mode(), routed(call):
        tiny_base.model(input_ids=torch.tensor([row.ids]))
    start = len(row.ids) - len(seen) - 1
    for index, step in enumerate(seen):
        assert step.attention is not None
        assert step.attention.sum() == pytest.approx(1, abs=1e-5)
        expected = maps[1][0, 3, start + index, : start + index + 1]
        torch.testing.assert_close(torch.from_numpy(step.attention), expected, atol=1e-5, rtol=0)


def test_observed_attention_equals_the_librarys_eager_weights(tiny_base: LanguageModel, bank: Bank) -> None:
    text = torch.tensor([tiny_base.chat_ids(PROMPTS[1])])
    maps: dict[int, torch.Tensor] = {}
    call = Routing([constant(1, 0, 0, 0)], len(bank), on_attention=keeping(maps), layers_read={0})
    with torch.inference_mode(), routed(call):
        tiny_base.model(input_ids=text)
    tiny_base.model.set_attn_implementation("eager")
    with torch.inference_mode():
        eager = tiny_base.model(input_ids=text, output_attentions=True).attentions[0]
    torch.testing.assert_close(maps[0], eager, atol=1e-5, rtol=0)


def test_two_threads_never_see_each_others_routing(tiny_base: LanguageModel, bank: Bank) -> None:
    gates = [random_gate(tiny_base, bank, 10 + i) for i in range(2)]
    expected = [ids(alone(tiny_base, bank, make_row(tiny_base, PROMPTS[1], gated(g)), 24)) for g in gates]
    assert expected[0] != expected[1]
    got: dict[int, list[list[int]]] = {0: [], 1: []}
    barrier = threading.Barrier(2)

    def work(index: int) -> None:
        for _ in range(4):
            barrier.wait()
            row = make_row(tiny_base, PROMPTS[1], gated(gates[index]))
            got[index].append(ids(alone(tiny_base, bank, row, 24)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {i: [expected[i]] * 4 for i in range(2)}


def test_a_masked_expert_gets_exactly_nothing(tiny_base: LanguageModel, bank: Bank) -> None:
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])
    row = make_row(tiny_base, PROMPTS[0], RowRouting(gate=random_gate(tiny_base, bank, 4), run=GateRun(0), mask=mask))
    for step in alone(tiny_base, bank, row, 6):
        assert step.layer_weights is not None
        assert (step.layer_weights[:, [1, 3]] == 0).all()
        assert step.layer_weights.sum(-1) == pytest.approx(1, abs=1e-5)


def test_shared_prompt_scoring_equals_scoring_alone(tiny_base: LanguageModel, bank: Bank) -> None:
    prompt = tiny_base.chat_ids(PROMPTS[1])
    answers = [[7, 9, 11], [5], [30, 31, 32, 33]]
    together = answer_logprobs(tiny_base.model, prompt, answers)
    for answer, row in zip(answers, together, strict=True):
        [single] = answer_logprobs(tiny_base.model, prompt, [answer])
        torch.testing.assert_close(row, single, atol=1e-5, rtol=0)


def test_sampling_is_repeatable_and_follows_its_settings() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, -3.0])
    draws = [Sampler(Sampling(temperature=1.0, top_p=1.0, repetition_penalty=1.0, seed=s), 4) for s in range(400)]
    counts = torch.zeros(4)
    for sampler in draws:
        counts[sampler.draw(logits).token_id] += 1
    expected = torch.softmax(logits, -1)
    assert torch.allclose(counts / 400, expected, atol=3 * float((expected * (1 - expected) / 400).max().sqrt()))
    same = [Sampler(Sampling(temperature=1.0, seed=7), 4).draw(logits).token_id for _ in range(5)]
    assert len(set(same)) == 1
    nucleus = Sampler(Sampling(temperature=1.0, top_p=0.5, repetition_penalty=1.0), 4)
    assert {nucleus.draw(logits).token_id for _ in range(50)} == {0}
    drawn = Sampler(GREEDY, 4).draw(logits, forced=3)
    assert drawn.token_id == 3
    assert drawn.logprob == pytest.approx(float(torch.log_softmax(logits, -1)[3]))
