"""Scoring many systems in one batch must give what each gives alone, read token by token as it would decode."""

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, forward, gate_routing, routed
from playground.model.scoring import answer_logprobs, choose, common_prefix, routed_logprobs
from playground.routers.base import Gate
from playground.routers.gate.emotion_qwen import EmotionQwen
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.gate.mogu import Mogu
from playground.routers.gate.xlora import XLora

PROMPT = "<|im_start|>user\nWhich one?<|im_end|>\n<|im_start|>assistant\n"
ANSWERS = ("yes.", "no, not at all.", "x")


def stirred(gate: Gate) -> Gate:
    """Return the gate with parameters that tell tokens apart."""
    torch.manual_seed(5)
    for parameter in gate.parameters():
        parameter.data = torch.randn_like(parameter) * 2
    return gate


@pytest.fixture
def gates(tiny_base: LanguageModel, bank: Bank) -> dict[str, Gate]:
    size = {"layers": tiny_base.layers, "width": tiny_base.width}
    names = bank.names
    made = {
        "lora_mixer": LoraMixer(names, LoraMixer.Options(embedding_width=4, top_k=2), **size),
        "emotion_qwen": EmotionQwen(names[:3], EmotionQwen.Options(after=0), **size),
        "mogu": Mogu((names[0], names[2]), Mogu.Options(guard=2, bottleneck=4), **size),
        "xlora": XLora(names, XLora.Options(bottleneck=4), **size),
    }
    return {name: stirred(router.gate) for name, router in made.items()}


def opened(bank: Bank, gates: dict[str, Gate], tokens: int) -> list[RowRouting]:
    """Return new runs of the base, one expert, the even mix and each gate."""
    size = len(bank)
    constants = [torch.eye(size)[0], torch.eye(size)[2], torch.full((size,), 1 / size)]
    embedding = torch.tensor([0.5, -0.5, 0.5, 0.5])
    runs = [
        gate_routing(gate, bank.names, prompt_tokens=tokens, embedding=embedding if gate.needs_embedding else None)
        for gate in gates.values()
    ]
    return [*(RowRouting(constant=constant) for constant in constants), *runs]


@torch.inference_mode()
def alone(base: LanguageModel, bank: Bank, route: RowRouting, prompt: list[int], answer: list[int]) -> Tensor:
    """Return the answer's log-probabilities, with one pass for the prompt and one for the answer, nothing shared."""
    cache = DynamicCache(config=base.model.config)
    logits: list[Tensor] = []
    for ids in (prompt, answer[:-1]):
        if ids:
            routing = Routing([route], len(bank))
            output = forward(base.model, routing, torch.tensor([ids]), past_key_values=cache, use_cache=True)
            logits.append(output.logits[0] if logits else output.logits[0, -1:])
    return torch.log_softmax(torch.cat(logits).float(), -1).gather(1, torch.tensor(answer).unsqueeze(1)).squeeze(1)


def test_many_systems_and_answers_in_one_batch_are_each_as_alone(
    tiny_base: LanguageModel, bank: Bank, gates: dict[str, Gate]
) -> None:
    prompt = tiny_base.answer_ids(PROMPT)
    answers = [tiny_base.answer_ids(text) for text in ANSWERS]
    together = routed_logprobs(tiny_base.model, opened(bank, gates, len(prompt)), len(bank), prompt, answers)
    assert len(together) == 3 + len(gates)
    for system, found in enumerate(together):
        for answer, row in zip(answers, found, strict=True):
            route = opened(bank, gates, len(prompt))[system]
            torch.testing.assert_close(row, alone(tiny_base, bank, route, prompt, answer), atol=2e-5, rtol=0)
    # and they are not all the same: the systems really differ
    assert torch.stack([found[1] for found in together]).std(0).min() > 1e-3


def test_cutting_a_batch_into_passes_changes_nothing(
    tiny_base: LanguageModel, bank: Bank, gates: dict[str, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tiny_base.answer_ids(PROMPT)
    answers = [tiny_base.answer_ids(text) for text in ANSWERS]
    whole = routed_logprobs(tiny_base.model, opened(bank, gates, len(prompt)), len(bank), prompt, answers)
    monkeypatch.setattr("playground.model.scoring.PASS_TOKENS", 500)
    monkeypatch.setattr("playground.model.scoring.HEAD_TOKENS", 3)
    cut = routed_logprobs(tiny_base.model, opened(bank, gates, len(prompt)), len(bank), prompt, answers)
    for one, other in zip(whole, cut, strict=True):
        for row, same in zip(one, other, strict=True):
            torch.testing.assert_close(row, same, atol=2e-5, rtol=0)


def test_one_answer_is_read_in_one_pass_and_agrees_with_the_plain_model(
    tiny_base: LanguageModel, bank: Bank, gates: dict[str, Gate]
) -> None:
    prompt, answer = tiny_base.answer_ids(PROMPT), tiny_base.answer_ids("a longer answer")
    found = routed_logprobs(tiny_base.model, opened(bank, gates, len(prompt)), len(bank), prompt, [answer])
    [plain] = answer_logprobs(tiny_base.model, prompt, [answer])
    torch.testing.assert_close(found[0][0], plain, atol=2e-5, rtol=0)
    one_hot = RowRouting(constant=torch.eye(len(bank))[2])
    with torch.inference_mode(), routed(Routing([one_hot], len(bank))):
        logits = tiny_base.model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    expected = torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(answer).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found[1][0], expected, atol=2e-5, rtol=0)


def test_answers_of_one_token_need_no_second_pass(tiny_base: LanguageModel, bank: Bank) -> None:
    prompt = tiny_base.answer_ids(PROMPT)
    answers = [tiny_base.answer_ids("a"), tiny_base.answer_ids("b")]
    found = answer_logprobs(tiny_base.model, prompt, answers)
    for answer, row in zip(answers, found, strict=True):
        torch.testing.assert_close(row, answer_logprobs(tiny_base.model, prompt, [answer])[0], atol=2e-5, rtol=0)


def test_only_several_answers_have_a_beginning_in_common() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert common_prefix([[1, 2], [1, 2, 3]]) == 1
    assert common_prefix([[1, 2, 3]]) == 0


def test_the_choice_is_by_mean_over_the_tokens_that_differ(tiny_base: LanguageModel, bank: Bank) -> None:
    prompt = tiny_base.answer_ids(PROMPT)
    answers = [tiny_base.answer_ids(f"It is {word}.") for word in ("up", "downwards", "x")]
    shared = len(tiny_base.answer_ids("It is "))
    means = [float(answer_logprobs(tiny_base.model, prompt, [answer])[0][shared:].mean()) for answer in answers]
    assert choose(tiny_base.model, prompt, answers) == max(range(3), key=means.__getitem__)
