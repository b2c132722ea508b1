"""What each paper says of its gate. What holds for every gate is in tests/contract/test_gates.py."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.errors import ArtefactError
from playground.routers.base import Gate, GateRouter, GateRun, Installed
from playground.routers.gate.arrow import Arrow
from playground.routers.gate.emotion_qwen import EmotionQwen, HybridGate
from playground.routers.gate.glider import Glider, GlobalLocalGate
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.gate.mogu import DialGate, Mogu
from playground.routers.gate.phatgoose import Phatgoose, VectorGate
from playground.routers.gate.topk_moe import TopKMoe
from playground.routers.gate.uniform import Uniform
from playground.routers.gate.xlora import XLora
from playground.routers.parts import LinearGate, keep_top, layer_normed
from tests.random_gates import GATES, NAMES, gate_kind, installed_experts, randomise, weigh_rows

LAYERS, WIDTH, Z = 3, 16, 6


def installed(names: Sequence[str] = NAMES) -> Installed:
    return installed_experts(names, layers=LAYERS, width=WIDTH, embedding_width=Z)


def make(name: str) -> GateRouter:
    """The router `name` with random parameters, for a model of 3 layers and width 16."""
    options = {
        "lora_mixer": LoraMixer.Options(embedding_width=Z),
        "glider": Glider.Options(embedding_width=Z),
        "emotion_qwen": EmotionQwen.Options(after=0),
    }
    experts = {"mogu": ("base", "safe"), "emotion_qwen": ("base", "emotion", "sentiment")}
    kind = gate_kind(name)
    return randomise(kind(experts.get(name, NAMES), options.get(name), layers=LAYERS, width=WIDTH))


def weigh(gate: Gate, hidden: torch.Tensor, *, prompt_tokens: int = 3) -> torch.Tensor:
    return weigh_rows(gate, hidden, embedding_width=Z, prompt_tokens=prompt_tokens)


@pytest.fixture
def hidden() -> torch.Tensor:
    """(L, B, T, d)."""
    return torch.randn(LAYERS, 2, 5, WIDTH, generator=torch.Generator().manual_seed(3))


def test_the_gates_of_the_papers_are_there() -> None:
    wanted = {
        "lora_mixer",
        "glider",
        "mogu",
        "xlora",
        "topk_moe",
        "phatgoose",
        "arrow",
        "uniform",
        "emotion_qwen",
    }
    assert wanted <= set(GATES)


def test_a_gate_that_does_not_fit_its_card_is_refused(tmp_path: Path) -> None:
    make("topk_moe").save(tmp_path / "gate")
    card = tmp_path / "gate" / "router.json"
    card.write_text(card.read_text().replace('"gamma"', '"gamma", "delta"'))
    with pytest.raises(ArtefactError, match="does not match its card"):
        TopKMoe.load(tmp_path / "gate")


@pytest.mark.parametrize("name", ["lora_mixer", "topk_moe", "xlora", "uniform"])
def test_zero_parameters_weigh_all_experts_alike(name: str, hidden: torch.Tensor) -> None:
    gate = make(name).gate
    for parameter in gate.parameters():
        parameter.data.zero_()
    if isinstance(gate, LinearGate):
        gate.top_k = len(NAMES)
    torch.testing.assert_close(weigh(gate, hidden), torch.full((LAYERS, 2, 5, 4), 0.25))


def test_the_prompt_shifts_lora_mixer_by_its_logits(hidden: torch.Tensor) -> None:
    router = make("lora_mixer")
    gate = router.gate
    gate.get_parameter("matrix").data.zero_()
    gate.top_k = len(NAMES)  # type: ignore[assignment]
    embedding = torch.nn.functional.normalize(torch.arange(1.0, Z + 1), dim=0)
    expected = torch.softmax(gate.get_parameter("prompt_matrix") @ embedding, dim=0)
    torch.testing.assert_close(weigh(gate, hidden)[1, 0, 2], expected)


def test_keep_top_is_dense_for_the_gradient() -> None:
    gate = make("topk_moe").gate.train().requires_grad_(True)
    weights = gate.weights(0, torch.randn(1, 1, WIDTH), [GateRun(1)])
    assert int((weights.detach() > 1e-6).sum()) == 2
    (weights * torch.arange(4.0)).sum().backward()
    grad = gate.get_parameter("matrix").grad
    assert grad is not None
    assert bool((grad[0].abs().sum(-1) > 0).all())


def test_layer_norm_has_no_mean_and_unit_variance() -> None:
    normed = layer_normed(torch.randn(7, WIDTH) * 3 + 2)
    torch.testing.assert_close(normed.mean(-1), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.var(-1, unbiased=False), torch.ones(7), atol=1e-3, rtol=0)


# --- GLIDER --------------------------------------------------------------------------------------------------


def glider(**options: float) -> GlobalLocalGate:
    router = Glider(NAMES, Glider.Options(embedding_width=Z, **options), layers=LAYERS, width=WIDTH)
    torch.nn.init.normal_(router.gate.get_parameter("vectors"), generator=torch.Generator().manual_seed(4))
    gate = router.gate_for(installed())
    assert isinstance(gate, GlobalLocalGate)
    return gate


def test_glider_without_its_global_part_is_the_local_gate(hidden: torch.Tensor) -> None:
    gate = glider(alpha_high=0.0, alpha_low=0.0)
    local = VectorGate(NAMES, LAYERS, WIDTH, top_k=2)
    local.vectors.data.copy_(gate.vectors)
    scores = layer_normed(hidden) @ layer_normed(gate.vectors).unsqueeze(1).transpose(-1, -2) / WIDTH**0.5
    torch.testing.assert_close(weigh(gate, hidden), keep_top(torch.softmax(scores, -1), 2))


def test_a_huge_global_weight_leaves_the_same_two_everywhere(hidden: torch.Tensor) -> None:
    gate = glider(alpha_high=1000.0, alpha_low=1000.0, local=1e-4)
    embedding = torch.nn.functional.normalize(torch.arange(1.0, Z + 1), dim=0)
    cosines = gate.descriptors @ embedding
    assert bool((cosines.abs() <= 1 + 1e-6).all())
    assert weigh(gate, hidden).argmax(-1).unique().tolist() == [int(cosines.argmax())]


def test_the_threshold_chooses_between_the_two_alphas() -> None:
    gate = glider(threshold=0.5, alpha_high=100.0, alpha_low=3.0)
    fits, stray = gate.descriptors[2], torch.zeros(Z)
    prior = gate.open(1, fits).prior
    assert prior is not None
    assert float(prior[2]) == pytest.approx(100.0, abs=1e-3)
    weak = gate.open(1, 0.1 * fits + stray).prior
    assert weak is not None
    assert float(weak[2]) == pytest.approx(0.3, abs=1e-3)


def test_a_new_expert_takes_part_by_its_card(hidden: torch.Tensor) -> None:
    router = make("glider")
    gate = router.gate_for(installed((*NAMES, "new")))
    assert gate.experts == (*NAMES, "new")
    embedding = torch.from_numpy(installed((*NAMES, "new")).descriptors[4])
    weights = gate.weights(0, hidden[0], [gate.open(3, embedding)] * 2)
    assert bool((weights.argmax(-1) == 4).all())


# --- Arrow ---------------------------------------------------------------------------------------------------


def test_arrow_does_not_mind_the_sign_and_leaves_out_the_base(hidden: torch.Tensor) -> None:
    there = installed()
    weights = weigh(Arrow(NAMES, layers=LAYERS, width=WIDTH).gate_for(there), hidden)
    assert not weights[..., 0].any()
    flipped = Installed(there.names, there.descriptors, lambda: -there.directions())
    torch.testing.assert_close(weigh(Arrow(NAMES, layers=LAYERS, width=WIDTH).gate_for(flipped), hidden), weights)


# --- PHATGOOSE -----------------------------------------------------------------------------------------------


def test_training_one_expert_touches_only_its_vector(hidden: torch.Tensor) -> None:
    gate = Phatgoose(NAMES, layers=LAYERS, width=WIDTH).gate.train().requires_grad_(True)
    run = GateRun(3, memory={"own": torch.tensor(2)})
    weights = gate.weights(1, hidden[1], [run, run])
    torch.testing.assert_close(weights[..., 2], torch.full((2, 5), 0.5))  # vectors start at zero: sigmoid(0)
    torch.testing.assert_close(weights[..., 0], torch.full((2, 5), 0.5))
    weights[..., 2].sum().backward()
    grad = gate.get_parameter("vectors").grad
    assert grad is not None
    touched = grad.abs().sum(-1) > 0
    assert touched.nonzero().tolist() == [[1, 2]]


def test_phatgoose_gives_the_base_nothing(hidden: torch.Tensor) -> None:
    assert not weigh(make("phatgoose").gate, hidden)[..., 0].any()


# --- MoGU ----------------------------------------------------------------------------------------------------


def dials(guard: int, lead: int = -1) -> DialGate:
    options = Mogu.Options(guard=guard, lead=lead, bottleneck=4)
    gate = Mogu(("base", "safe"), options, layers=LAYERS, width=WIDTH).gate
    assert isinstance(gate, DialGate)
    torch.nn.init.normal_(gate.up, generator=torch.Generator().manual_seed(2))
    return gate


@pytest.mark.parametrize("lead", [-1, 1])
def test_the_dials_begin_and_end_alike_in_one_pass_and_token_by_token(hidden: torch.Tensor, lead: int) -> None:
    gate = dials(guard=1, lead=lead)
    whole = weigh(gate, hidden, prompt_tokens=3)
    first = 0 if lead < 0 else 2
    assert not whole[:, :, :first, 1].any()
    assert bool((whole[:, :, first:4, 1] > 0).all())
    assert not whole[:, :, 4:, 1].any()
    run = gate.open(3)
    parts = []
    for start, end in ((0, 3), (3, 4), (4, 5)):
        parts.append(gate.weights(1, hidden[1, :1, start:end], [run]))
        run.read += end - start
    torch.testing.assert_close(torch.cat(parts, dim=1), whole[1, :1])


def test_rows_of_one_call_have_their_own_first_and_last_token(hidden: torch.Tensor) -> None:
    gate = dials(guard=1, lead=1)
    weights = gate.weights(0, hidden[0], [GateRun(3), GateRun(1)])
    assert [(row[:, 1] > 0).nonzero().flatten().tolist() for row in weights] == [[2, 3], [0, 1]]


def test_no_lead_and_no_guard_is_the_base_and_endless_ones_never_are(hidden: torch.Tensor) -> None:
    assert not weigh(dials(guard=0, lead=0), hidden)[..., 1].any()
    assert bool((weigh(dials(guard=-1), hidden)[..., 1] > 0).all())


def test_dials_at_zero_and_one_are_the_usable_variant_alone(hidden: torch.Tensor) -> None:
    gate = dials(guard=-1)
    gate.up.data.zero_()
    gate.bias.data.copy_(torch.tensor([[20.0, -20.0]]).expand(LAYERS, 2))
    torch.testing.assert_close(weigh(gate, hidden)[..., 0], torch.ones(LAYERS, 2, 5))


# --- X-LoRA --------------------------------------------------------------------------------------------------


def test_scalings_lag_one_token_behind(hidden: torch.Tensor) -> None:
    gate = XLora(NAMES, layers=LAYERS, width=WIDTH).gate
    torch.nn.init.normal_(gate.get_parameter("outer"), generator=torch.Generator().manual_seed(2))
    run = gate.open(4)
    gate.read_final(hidden[0, 0], run, first_pass=True)
    prompt = gate.weights(1, hidden[1, :1], [run])
    assert not torch.allclose(prompt[0, 0], prompt[0, 1])
    gate.read_final(hidden[2, 0], run, first_pass=False)
    after = gate.weights(1, torch.full((1, 1, WIDTH), 9.0), [run])  # the token itself is never looked at
    assert after.shape == (1, 1, 4)
    again = gate.open(4)
    gate.read_final(hidden[2, 0, -1:], again, first_pass=True)
    torch.testing.assert_close(after, gate.weights(1, torch.zeros(1, 1, WIDTH), [again]))


# --- Emotion-Qwen --------------------------------------------------------------------------------------------


def hybrid() -> HybridGate:
    gate = EmotionQwen(("base", "emotion", "sentiment"), EmotionQwen.Options(after=1), layers=LAYERS, width=WIDTH).gate
    assert isinstance(gate, HybridGate)
    return gate


def test_early_layers_are_the_base_and_late_ones_share_one_decision(hidden: torch.Tensor) -> None:
    gate = hybrid()
    torch.nn.init.normal_(gate.gate, generator=torch.Generator().manual_seed(2))
    weights = weigh(gate, hidden)
    assert weights[:2, ..., 0].unique().tolist() == [1.0]
    assert bool((weights[2, ..., 0] < 1).all())


def test_it_starts_nearly_closed_and_a_shut_gate_is_the_base(hidden: torch.Tensor) -> None:
    gate = hybrid()
    share = 1 / (1 + math.exp(2.0))
    torch.testing.assert_close(weigh(gate, hidden)[2, ..., 1:].sum(-1), torch.full((2, 5), share))
    gate.bias.data.fill_(-100.0)
    assert weigh(gate, hidden)[..., 1:].max() < 1e-6


def test_the_prompt_mean_is_kept_for_the_answer(hidden: torch.Tensor) -> None:
    gate = hybrid()
    torch.nn.init.normal_(gate.gate, generator=torch.Generator().manual_seed(2))
    whole = weigh(gate, hidden, prompt_tokens=3)[2, 0]
    run = gate.open(3)
    parts = []
    for start, end in ((0, 3), (3, 5)):
        for layer in range(LAYERS):
            made = gate.weights(layer, hidden[layer, :1, start:end], [run])
        parts.append(made[0])
        run.read += end - start
    torch.testing.assert_close(torch.cat(parts), whole)


def test_the_even_gate_takes_in_every_expert() -> None:
    gate = Uniform(NAMES, layers=LAYERS, width=WIDTH).gate_for(installed((*NAMES, "new")))
    assert np.allclose(gate.weights(0, torch.zeros(1, 2, WIDTH), [GateRun(1)]).numpy(), 0.2)
