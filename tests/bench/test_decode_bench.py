"""The measurements themselves, on the tiny model: every way runs, and the sums are right."""

from pathlib import Path

import numpy as np
import pytest
import torch

from playground.bench.subjects.decode import formats, speed
from playground.bench.subjects.decode.decode import SMALL_DATA, Decode
from playground.errors import InvalidRequest
from playground.experts.catalogue import load_catalogue
from playground.serving.loading import load_bank, load_model
from playground.settings import Settings


@pytest.fixture
def bfloat_settings(tiny_settings: Settings) -> Settings:
    return tiny_settings.model_copy(update={"dtype": "bfloat16"})


def test_every_way_is_timed(bfloat_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "COUNTS", (1, 3))
    monkeypatch.setattr(speed, "EXPERTS", 3)
    told: list[str] = []
    found = Decode(rounds=1, tokens=6, answers=False).run(bfloat_settings, told.append)
    assert "int8" not in found
    assert found["dtype"] == "bfloat16"
    assert found["fast_mode"] in ("int8", "bfloat16")
    assert set(found["growth"]) == {"1", "3"}
    assert found["growth"]["1"] == 1
    assert found["by_experts"]["3"] == found["routed_ratio"]
    assert all(value > 0 for key, value in found.items() if isinstance(value, float) and key != "observation_cost")
    assert any("xlora" in text for text in told)


def test_a_missing_folder_is_refused_before_anything_is_loaded(tiny_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no folder"):
        Decode(data=tmp_path / "nothing").run(tiny_settings, print)


def test_ratios_are_medians_of_rounds() -> None:
    names = ["plain", "loop", "routed", "observed", "pair", "fast_loop", "fast_routed", "fast", "xlora"]
    rates = {name: [10.0, 20.0, 40.0] for name in names}
    rates["fast"] = [15.0, 60.0, 80.0]  # 1.5, 3 and 2 times plain
    rates["pair"] = [8.0, 16.0, 32.0]
    rates["xlora"] = [1.0, 2.0, 4.0]
    found = speed.summary(rates, "bfloat16")
    assert (found["fast_ratio"], found["fast_mode"]) == (2.0, "int8")
    assert found["pair_cost"] == 1.25
    assert found["xlora_ratio"] == 20.0
    assert found["xlora_ratio_bfloat16"] == 10.0


def test_speed_by_experts_is_beside_plain_generation() -> None:
    assert speed.by_experts({1: 1.0, 8: 1.1, 32: 1.375}, 1.0) == {"1": 1.1, "8": 1.0, "32": 0.8}


def test_int8_is_compared_with_itself_and_with_less(bfloat_settings: Settings) -> None:
    def served(dtype: str) -> formats.Served:
        base = load_model(bfloat_settings.model_copy(update={"dtype": dtype}))
        bank, _ = load_bank(base, load_catalogue(bfloat_settings.experts_dir))
        return base, bank

    texts = [("what is it", " a long and winding answer"), ("why", " because"), ("one more", " text to score")]
    plain = served("bfloat16")
    same = formats.compare_formats(plain, served("bfloat16"), texts, tokens=8)
    assert (same["change"], same["greedy_agreement"]) == (0, 1)
    assert same["loss_bf16"] == same["loss_int8"]
    answers = formats.greedy_answers(plain, [prompt for prompt, _ in texts], 8)
    assert same["alike_for"] == pytest.approx(np.mean([len(answer) - 1 for _, answer in answers]), abs=0.05)

    quick = served("int8")
    near = formats.compare_formats(plain, quick, texts, tokens=8)
    assert near["loss_int8"] != near["loss_bf16"]
    assert abs(near["change"]) < 0.05
    for product in quick[1].products:  # weights that are quite wrong show in both figures
        product.scales = torch.ones_like(product.scales)
    wrong = formats.compare_formats(plain, quick, texts, tokens=8)
    assert wrong["change"] > 0.2
    assert wrong["greedy_agreement"] < 0.9


def test_there_are_held_texts() -> None:
    texts = formats.held_texts(SMALL_DATA)
    assert len(texts) > 20
    assert all(prompt and answer for prompt, answer in texts)
