"""Adapter folders as they come in the wild: taken as PEFT would, or refused with the true reason."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from playground.core.checklist import Line
from playground.model.adapters import CONFIG, WEIGHTS, Examined, Half, examine, half_of
from playground.model.base import LanguageModel
from playground.model.patterns import MAX_EXPRESSIONS, PATIENCE, SECONDS, CannotMatch, match_names

Q = "model.layers.0.self_attn.q_proj"
PREFIX = "base_model.model."


def halves(rank: int = 2, *, size: float = 0.1) -> dict[str, Tensor]:
    """A and B of the first query projection, under PEFT's names."""
    torch.manual_seed(rank)
    down, up = size * torch.randn(rank, 48), size * torch.randn(48, rank)
    return {f"{PREFIX}{Q}.lora_A.weight": down, f"{PREFIX}{Q}.lora_B.weight": up}


def folder_of(place: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    """An adapter folder. A field with the value `...` is left out of the configuration."""
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    told = {key: value for key, value in {**told, "layers_to_transform": [0], **config}.items() if value is not ...}
    place.mkdir(exist_ok=True)
    (place / CONFIG).write_text(json.dumps(told))
    save_file(tensors, place / WEIGHTS)
    return place


def looked(base: LanguageModel, folder: Path) -> Examined:
    return examine(folder, "wild", base.model, base_name="tiny")


def failure(base: LanguageModel, folder: Path) -> Line:
    found = looked(base, folder).checklist.failure
    assert found is not None
    assert found.remedy
    return found


def renamed(old: str, new: str) -> dict[str, Tensor]:
    return {key.replace(old, new): value for key, value in halves().items()}


# --- two adapters in one file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(".default", ".reference"), ("", ".reference"), (".a", ".b")])
def test_two_adapters_in_one_file_are_refused(tiny_base: LanguageModel, tmp_path: Path, names: tuple[str, str]) -> None:
    both: dict[str, Tensor] = {}
    for name in names:
        both |= renamed(".weight", f"{name}.weight")
    assert "holds 2 adapters" in failure(tiny_base, folder_of(tmp_path / "two", both)).detail


def test_one_name_is_taken_when_peft_would_load_it(tiny_base: LanguageModel, tmp_path: Path) -> None:
    default = folder_of(tmp_path / "default", renamed(".weight", ".default.weight"))
    assert looked(tiny_base, default).adapter is not None
    other = folder_of(tmp_path / "other", renamed(".weight", ".math.weight"))
    assert "the adapter's name 'math'" in failure(tiny_base, other).detail


@pytest.mark.parametrize(
    ("key", "half"),
    [
        (f"{PREFIX}{Q}.lora_A.weight", Half(Q, "A", "")),
        (f"{PREFIX}{Q}.lora_B.default.weight", Half(Q, "B", "default")),
        (f"{PREFIX}a.lora_A.b.lora_B.weight", Half("a.lora_A.b", "B", "")),
        *((f"{PREFIX}{end}", None) for end in (".lora_A.weight", "q.lora_C.weight", "q.lora_A", "q.lora_A..weight")),
        *((f"{PREFIX}{end}", None) for end in ("q.lora_A.a.b.weight", "q.lora_Aweight", "q.lora_A.weight.x", "")),
        (f"x{PREFIX}q.lora_A.weight", None),
    ],
)
def test_the_name_of_a_half_is_read(key: str, half: Half | None) -> None:
    assert half_of(key) == half


def test_long_names_of_tensors_take_no_time() -> None:
    began = time.process_time()
    for end in (".lora_A" * 200_000, "." * 10**6, ".lora_A." + "a" * 10**6):
        assert half_of(f"{PREFIX}{end}") is None
    assert time.process_time() - began < 0.5


def test_a_tensor_that_stands_twice_is_refused(tiny_base: LanguageModel, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "twice", halves())
    raw = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length].strip()
    doubled = header[:-1] + b"," + header[1:]
    (folder / WEIGHTS).write_bytes(len(doubled).to_bytes(8, "little") + doubled + raw[8 + length :])
    assert "header cannot be read" in failure(tiny_base, folder).detail


# --- what is not said has PEFT's default -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rank", "config", "scale"),
    [
        (2, {"lora_alpha": ...}, 8 / 2),
        (1, {"lora_alpha": ..., "r": 1}, 8.0),
        (8, {"r": ...}, 4 / 8),
        (8, {"r": ..., "lora_alpha": ...}, 1.0),
        (2, {"lora_alpha": ..., "use_rslora": True}, 8 / math.sqrt(2)),
    ],
)
def test_a_missing_rank_or_alpha_is_pefts_default(
    tiny_base: LanguageModel, tmp_path: Path, rank: int, config: dict[str, Any], scale: float
) -> None:
    tensors = halves(rank)
    adapter = looked(tiny_base, folder_of(tmp_path / "short", tensors, **config)).adapter
    assert adapter is not None
    torch.testing.assert_close(adapter.matrices[Q][1], scale * tensors[f"{PREFIX}{Q}.lora_B.weight"])


# --- expressions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"r": 8, "rank_pattern": {r".*\.layers\.0\..*(q_proj|v_proj)$": 2}},
        {"r": 8, "rank_pattern": {r"layers\.(0|1)\.self_attn\.q_proj": 2}},
        {"r": 8, "rank_pattern": {r"(?!.*mlp).*_proj": 2, "q_proj": 8}},
        {"target_modules": r".*layers\.0\.(self_attn|cross)\.q_proj", "layers_to_transform": ...},
        {"exclude_modules": r".*\.[1-9]\d*\..*", "layers_to_transform": ...},
    ],
)
def test_expressions_are_read_as_peft_reads_them(
    tiny_base: LanguageModel, tmp_path: Path, config: dict[str, Any]
) -> None:
    found = looked(tiny_base, folder_of(tmp_path / "patterns", halves(), **config))
    assert found.adapter is not None, found.checklist
    assert list(found.adapter.matrices) == [Q]


def test_the_first_alpha_pattern_that_matches_counts(tiny_base: LanguageModel, tmp_path: Path) -> None:
    alphas = {r"k_proj|layers\.0\..*": 16, "q_proj": 2}
    adapter = looked(tiny_base, folder_of(tmp_path / "alphas", halves(), alpha_pattern=alphas)).adapter
    assert adapter is not None
    torch.testing.assert_close(adapter.matrices[Q][1], 8 * halves()[f"{PREFIX}{Q}.lora_B.weight"])


@pytest.mark.parametrize("expression", [r"([\w.]+)+!", r"(.*)*(.*)*(.*)*x", "(a?){4294967294}b"])
def test_an_expression_that_does_not_end_is_ended(expression: str) -> None:
    with pytest.raises(CannotMatch, match="takes too long"):
        match_names([("fullmatch", expression)], [Q], seconds=1)


@pytest.mark.parametrize("count", [1000, 16_000])
def test_many_patterns_take_a_bounded_time(tiny_base: LanguageModel, tmp_path: Path, count: int) -> None:
    many = {f"model.layers.{n}.self_attn.o_proj": 2 for n in range(count)}
    folder = folder_of(tmp_path / "many", halves(), rank_pattern=many)
    began = time.monotonic()
    found = looked(tiny_base, folder)
    assert time.monotonic() - began < 2 * SECONDS * PATIENCE
    failed = found.checklist.failure
    assert failed is None if count <= MAX_EXPRESSIONS else failed is not None and "16,000 of them" in failed.detail


# --- files that are something else, prefixes, names of bases ---------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (PREFIX, "", "lacks the prefix base_model.model."),
        (PREFIX, "module.base_model.model.", "lacks the prefix base_model.model."),
        (PREFIX, "_orig_mod.base_model.model.", "the prefix of a model compiled by torch.compile"),
        (PREFIX, "base_model.model._orig_mod.", "the prefix of a model compiled by torch.compile"),
        ("lora_A.weight", "lora_magnitude_vector", "it is a DoRA adapter"),
        ("lora_B.weight", "base_layer.bias", "it changes biases too"),
        ("lora_B.weight", "lora_B.wait", "not part of a plain LoRA"),
    ],
)
def test_a_wrong_name_is_called_by_what_is_wrong_with_it(
    tiny_base: LanguageModel, tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert says in failure(tiny_base, folder_of(tmp_path / "names", renamed(old, new))).detail


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("layers.0.self_attn.q_proj", f"no linear module layers.0.self_attn.q_proj in a layer. It has {Q}."),
        (f"language_model.{Q}", f"in a layer. It has {Q}."),
        ("model.layers.7.self_attn.q_proj", "no linear module model.layers.7.self_attn.q_proj in a layer."),
    ],
)
def test_a_module_under_another_name_is_told_with_the_bases(
    tiny_base: LanguageModel, tmp_path: Path, named: str, says: str
) -> None:
    assert failure(tiny_base, folder_of(tmp_path / "other", renamed(Q, named))).detail.endswith(says)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234567\n"


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize(
    ("content", "says", "remedy"),
    [
        (POINTER, "is a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>Sign in", "is a web page", "Download the file itself"),
        (b"PK\x03\x04torch", "is a pickle of PyTorch", "save_pretrained"),
    ],
)
def test_what_stands_in_place_of_a_file_is_told(
    tiny_base: LanguageModel, tmp_path: Path, name: str, content: bytes, says: str, remedy: str
) -> None:
    folder = folder_of(tmp_path / "stand_in", halves())
    (folder / name).write_bytes(content)
    found = failure(tiny_base, folder)
    assert f"{name} {says}" in found.detail
    assert remedy in found.remedy


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_read_over(tiny_base: LanguageModel, tmp_path: Path, encoding: str) -> None:
    folder = folder_of(tmp_path / "marked", halves())
    (folder / CONFIG).write_text((folder / CONFIG).read_text(), encoding=encoding)
    assert looked(tiny_base, folder).adapter is not None


@pytest.mark.parametrize(
    "told",
    [
        "me/tiny",
        "/home/me/.cache/huggingface/hub/models--me--tiny/snapshots/0123456789abcdef",
        r"C:\Users\me\hub\models--me--tiny\snapshots\0123456789abcdef",
        "models/tiny/",
    ],
)
def test_the_base_is_named_by_its_name(tiny_base: LanguageModel, tmp_path: Path, told: str) -> None:
    checklist = looked(tiny_base, folder_of(tmp_path / "based", halves(), base_model_name_or_path=told)).checklist
    assert ("Base model", "pass") in {(line.title, line.state) for line in checklist.lines}


# --- what would not be the author's adapter --------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
def test_weights_for_a_changed_base_are_refused(tiny_base: LanguageModel, tmp_path: Path, start: str) -> None:
    found = failure(tiny_base, folder_of(tmp_path / "changed", halves(), init_lora_weights=start))
    assert f"a base that {start} changed" in found.detail
    assert "path_initial_model_for_weight_conversion" in found.remedy


def test_a_module_that_the_configuration_does_not_target_is_told(tiny_base: LanguageModel, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "untold", halves(), layers_to_transform=[1])
    assert f"does not target {Q}" in failure(tiny_base, folder).detail


@pytest.mark.parametrize("size", [1e5, 1e18, 3e37])
@pytest.mark.parametrize("sides", ["A", "B", "AB"])
def test_huge_numbers_are_refused(tiny_base: LanguageModel, tmp_path: Path, size: float, sides: str) -> None:
    tensors = halves()
    for side in sides:
        key = f"{PREFIX}{Q}.lora_{side}.weight"
        tensors[key] = torch.full_like(tensors[key], size)
    found = failure(tiny_base, folder_of(tmp_path / "huge", tensors))
    assert found.title == "Size of the change"
    assert f"adds to {Q} is" in found.detail


def test_a_huge_half_is_refused_though_the_product_is_small(tiny_base: LanguageModel, tmp_path: Path) -> None:
    tensors = halves()
    tensors[f"{PREFIX}{Q}.lora_A.weight"] *= 1e20
    tensors[f"{PREFIX}{Q}.lora_B.weight"] *= 1e-20
    assert "too large to compute with" in failure(tiny_base, folder_of(tmp_path / "half", tensors)).detail


# --- the size comes last ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "more", "says"),
    [
        ({"modules_to_save": ["lm_head"]}, {}, "modules_to_save is not supported"),
        ({"use_dora": True}, {}, "use_dora is not supported"),
        ({}, {"base_model.model.lm_head.weight": torch.zeros(259, 48)}, "not part of a plain LoRA"),
        ({"r": 7}, {}, "its configuration says 7"),
        ({}, {}, "larger than 0 MB"),
    ],
)
def test_the_size_hides_no_other_reason(
    tiny_base: LanguageModel, tmp_path: Path, config: dict[str, Any], more: dict[str, Tensor], says: str
) -> None:
    folder = folder_of(tmp_path / "large", {**halves(), **more}, **config)
    found = examine(folder, "large", tiny_base.model, limit_bytes=100).checklist.failure
    assert found is not None
    assert says in found.detail
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[: 8 + int.from_bytes(raw[:8], "little")])  # its header is enough
    assert examine(folder, "large", tiny_base.model, limit_bytes=100).checklist.failure == found


def test_the_weights_are_those_of_the_file(tiny_base: LanguageModel, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "same", halves())
    adapter = looked(tiny_base, folder).adapter
    assert adapter is not None
    assert torch.equal(adapter.matrices[Q][0], load_file(folder / WEIGHTS)[f"{PREFIX}{Q}.lora_A.weight"])
