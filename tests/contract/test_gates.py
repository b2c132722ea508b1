"""Every registered gate keeps the contract of gates: a new file in routers/gate gets these tests by itself."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.errors import ArtefactError, InvalidRequest, NotReady
from playground.routers.base import ROUTERS, Beginning, ExampleSet, Gate, GateRouter, Installed
from tests.contract.options import ends
from tests.random_gates import GATES, NAMES, gate_kind, installed_experts, randomise, weigh_pieces, weigh_rows

LAYERS, WIDTH, Z = 12, 16, 384  # Z is the width of the default encoder's embeddings
RUN_TIME = [(name, *end) for name in GATES for end in ends(ROUTERS.get(name).Options, run_time=True)]
FITTED = [(name, *end) for name in GATES for end in ends(ROUTERS.get(name).Options, run_time=False)]


def installed(names: Sequence[str] = NAMES) -> Installed:
    return installed_experts(names, layers=LAYERS, width=WIDTH, embedding_width=Z)


def make(name: str) -> GateRouter:
    """The router `name` with random parameters."""
    return randomise(gate_kind(name)(NAMES, layers=LAYERS, width=WIDTH))


def weigh(gate: Gate, hidden: torch.Tensor, *, prompt_tokens: int = 3) -> torch.Tensor:
    return weigh_rows(gate, hidden, embedding_width=Z, prompt_tokens=prompt_tokens)


def check(weights: torch.Tensor, gate: Gate) -> None:
    assert weights.shape == (LAYERS, 2, 5, len(gate.experts))
    assert weights.dtype == torch.float32
    assert bool(torch.isfinite(weights).all())
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum(-1), torch.ones(LAYERS, 2, 5), atol=1e-5, rtol=0)


@pytest.fixture
def hidden() -> torch.Tensor:
    """(L, B, T, d)."""
    return torch.randn(LAYERS, 2, 5, WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", GATES)
def test_it_says_what_it_is(name: str) -> None:
    kind = gate_kind(name)
    assert kind.spec.level == "gate"
    assert kind.spec.title
    assert kind.spec.trained_from
    assert not kind.learns_from_labels
    assert all(control.get("description") for control in kind.Options.controls())
    assert kind.needs_training == bool(make(name).gate.state_dict())


@pytest.mark.parametrize("name", GATES)
def test_weights_are_on_the_simplex_the_same_every_time_and_rows_do_not_see_each_other(
    name: str, hidden: torch.Tensor
) -> None:
    gate = make(name).gate_for(installed())
    weights = weigh(gate, hidden)
    check(weights, gate)
    assert torch.equal(weigh(gate, hidden), weights)
    changed = hidden.clone()
    changed[:, 1] = 5.0
    torch.testing.assert_close(weigh(gate, changed)[:, 0], weights[:, 0])


@pytest.mark.parametrize("name", GATES)
def test_a_prompt_read_in_pieces_has_the_weights_of_one_pass(name: str, hidden: torch.Tensor) -> None:
    gate = make(name).gate_for(installed())
    if gate.reads_whole_prompt:
        pytest.skip("it is given the prompt in one pass")
    whole = weigh(gate, hidden, prompt_tokens=5)
    for pieces in ((5,), (2, 3), (1, 1, 3)):
        torch.testing.assert_close(weigh_pieces(gate, hidden, pieces, embedding_width=Z), whole)


@pytest.mark.parametrize("name", GATES)
def test_save_and_load_decide_alike(name: str, hidden: torch.Tensor, tmp_path: Path) -> None:
    router = make(name)
    router.save(tmp_path / name)
    again = type(router).load(tmp_path / name)
    assert again.experts == router.experts
    assert again.options == router.options
    there = installed()
    torch.testing.assert_close(
        weigh(again.gate_for(there), hidden), weigh(router.gate_for(there), hidden), atol=1e-6, rtol=0
    )
    (tmp_path / name / "params.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ArtefactError):
        type(router).load(tmp_path / name)


@pytest.mark.parametrize("name", GATES)
def test_an_expert_that_came_later_is_taken_in_or_left_out_but_breaks_nothing(name: str, hidden: torch.Tensor) -> None:
    router = make(name)
    more = (*NAMES, "new")
    gate = router.gate_for(installed(more))
    assert gate.experts == (more if router.takes_any_expert else NAMES)
    check(weigh(gate, hidden), gate)


@pytest.mark.parametrize("name", GATES)
def test_a_pool_of_one_gets_everything(name: str, hidden: torch.Tensor) -> None:
    router = make(name)
    if not router.takes_any_expert:
        pytest.skip("it keeps to its own experts: the engine masks those outside the pool")
    gate = router.gate_for(installed(("base",)))
    assert gate.experts == ("base",)
    torch.testing.assert_close(weigh(gate, hidden), torch.ones(LAYERS, 2, 5, 1))


@pytest.mark.parametrize("name", GATES)
def test_a_gate_of_another_model_s_size_is_refused(name: str) -> None:
    router = make(name)
    router.check_model(LAYERS, WIDTH)
    if not router.needs_training:
        router.check_model(LAYERS + 1, 2 * WIDTH)
        return
    with pytest.raises(InvalidRequest, match="12 layers and 16 channels") as caught:
        router.check_model(LAYERS, 2 * WIDTH)
    assert f"routers fit {name}" in caught.value.remedy


@pytest.mark.parametrize("name", GATES)
def test_without_a_fit_it_is_there_at_once_or_names_the_command(name: str, hidden: torch.Tensor) -> None:
    nothing = ExampleSet((), (), np.zeros((0, Z), np.float32), np.zeros(0, np.int64))
    kind, beginning = gate_kind(name), Beginning(lambda: nothing, NAMES, LAYERS, WIDTH)
    if kind.needs_training:
        with pytest.raises(NotReady) as caught:
            kind.begin(beginning)
        assert f"python -m playground routers fit {name}" in caught.value.remedy
        return
    gate = kind.begin(beginning).gate_for(installed())
    assert gate.experts == NAMES
    check(weigh(gate, hidden), gate)


@pytest.mark.parametrize(("name", "option", "value"), RUN_TIME)
def test_run_time_options_change_at_both_ends_and_the_router_stays(
    name: str, option: str, value: object, hidden: torch.Tensor
) -> None:
    router, there = make(name), installed()
    before = weigh(router.gate_for(there), hidden)
    state = torch.random.get_rng_state()
    changed = router.with_options({option: str(value)})
    assert torch.equal(torch.random.get_rng_state(), state), "samples of a run must not depend on it"
    assert getattr(changed.options, option) == pytest.approx(value)
    gate = changed.gate_for(there)
    check(weigh(gate, hidden), gate)
    assert torch.equal(weigh(router.gate_for(there), hidden), before)
    back = changed.with_options({option: getattr(router.options, option)})
    torch.testing.assert_close(weigh(back.gate_for(there), hidden), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "option", "value"), FITTED)
def test_options_that_are_fixed_by_the_fit_build_a_gate_but_are_not_changed_later(
    name: str, option: str, value: object
) -> None:
    kind = gate_kind(name)
    smaller = min(value, 1024) if isinstance(value, int) and not math.isinf(value) else value
    kind(NAMES, kind.Options.of({option: smaller}), layers=LAYERS, width=WIDTH)
    with pytest.raises(InvalidRequest, match="set when the router is fitted") as caught:
        make(name).with_options({option: smaller})
    assert f"routers fit {name} --option {option}" in caught.value.remedy


@pytest.mark.parametrize("name", GATES)
def test_an_unknown_option_and_a_wrong_value_are_refused(name: str) -> None:
    router = make(name)
    with pytest.raises(InvalidRequest, match="no option"):
        router.with_options({"nothing_like_it": 1})
    for control in router.Options.controls(run_time=True):
        with pytest.raises(InvalidRequest, match=control["name"]):
            router.with_options({control["name"]: "much"})
