"""Adapters against PEFT itself: over generated configurations, the same logits or a refusal with a reason.

PEFT writes or is given each adapter, loads it on the tiny model and computes. The playground must compute the same to
1e-4, or refuse. It must refuse whatever PEFT cannot load.
"""

import copy
import dataclasses
import json
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

from playground.core.adapter_format import DEFAULT_ALPHA, DEFAULT_RANK
from playground.model import lora_config
from playground.model.adapters import Adapter, examine
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.model.routing import Routing, RowRouting, routed

EXAMPLES = 500
IDS = torch.tensor([[5, 40, 77, 12, 90, 33, 8]])
LEAVES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FULL = "model.layers.1.self_attn.v_proj"
EXPRESSIONS = [
    r".*\.(q_proj|v_proj)",
    r".*_proj",
    r"model\.layers\.[01]\.self_attn\.[qk]_proj",
    r"(?!.*mlp).*proj$",
    r".*layers\.1\..*(gate|up)_proj",
    r"q_proj",
    r"(?i).*Q_PROJ",
    r"model.layers.\d.mlp.\w+",
    r".*(",
    r".*\.mlp",
]
PATTERNS = [
    *("q_proj", "self_attn.q_proj", FULL, f"^{FULL}$", r".*\.layers\.0\..*(q_proj|v_proj)$", "layers.0.mlp.down.proj"),
    *(r"layers\.(0|1)\.self_attn\.q_proj", ".*", "proj", "(broken", r"\d", "mlp", r"(?:.*)up_proj", "nowhere"),
]


# --- what is generated ------------------------------------------------------------------------------------------------


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return `usual` in three of four draws."""
    return st.sampled_from([0, 1, 2, 3]).flatmap(lambda draw: other if draw == 3 else usual)


def patterns(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return mostly(st.just({}), st.dictionaries(st.sampled_from(PATTERNS), values, min_size=1, max_size=3))


names = st.lists(st.sampled_from(LEAVES), min_size=1, max_size=5, unique=True)
ranks = st.sampled_from([1, 2, 4, 8])
alphas = st.sampled_from([1, 2, 8, 16, 3.5, 0.25])
# What trainers write: fields that change what is computed, each with usable values.
USUAL = st.fixed_dictionaries(
    {
        "peft_type": st.just("LORA"),
        "task_type": st.sampled_from(["CAUSAL_LM", None]),
        "r": ranks,
        "lora_alpha": alphas,
        "use_rslora": st.booleans(),
        "target_modules": mostly(names, st.sampled_from(["all-linear", *EXPRESSIONS])),
        "exclude_modules": mostly(st.none(), st.one_of(names, st.sampled_from(EXPRESSIONS))),
        "layers_to_transform": mostly(st.none(), st.sampled_from([0, 1, 7, [0], [1], [0, 1], []])),
        "rank_pattern": patterns(ranks),
        "alpha_pattern": patterns(alphas),
        "init_lora_weights": st.sampled_from([True, True, True, False, "gaussian", "orthogonal", "eva", "mica"]),
    }
)
# What is seldom or wrong. An example has one or two of these, or none.
ODD: list[tuple[str, Any]] = [
    *(("peft_type", value) for value in ("IA3", "lora", "ADALORA", None)),
    *(("task_type", value) for value in ("FEATURE_EXTRACTION", "SEQ_CLS", "NOTHING")),
    *(("r", value) for value in (0, -1, 2.0, "8", None, True)),
    *(("lora_alpha", value) for value in (0, -4, "16", None)),
    *(("lora_dropout", value) for value in (0.1, 0, 1.0, 1.5, "0.1", None)),
    *(("bias", value) for value in ("all", "lora_only", "some", None)),
    *(("use_rslora", value) for value in (None, "false", 1)),
    *(
        ("target_modules", value)
        for value in ([], None, "", "ALL-LINEAR", [FULL], ["0"], ["self_attn"], ["mlp", "q_proj"])
    ),
    *(
        ("target_modules", value)
        for value in (["lm_head", "q_proj"], ["embed_tokens", "v_proj"], ["norm"], ["nowhere"])
    ),
    *(("target_modules", value) for value in (["layers.1.mlp.up_proj", "k_proj"], "(", 5, {"q_proj": 1})),
    *(("exclude_modules", value) for value in (["layers.0.self_attn.q_proj"], ["lm_head"], "(", "", [])),
    *(("layers_pattern", value) for value in ("layers", ["h", "layers"], "", "blocks", "lay.rs", "(", [])),
    *(("layers_to_transform", value) for value in ("0", ["0"], [0.0], -1, [True])),
    *(("rank_pattern", value) for value in ({".*": 0}, {"q_proj": "2"}, None, {"(": 2}, [])),
    *(("alpha_pattern", value) for value in ({".*": 0}, {"q_proj": "2"}, None, {"(": 2}, {r"(?i)Q_PROJ": 3})),
    *(("init_lora_weights", value) for value in ("pissa", "pissa_niter_2", "olora", "OLoRA", "corda", "loftq")),
    *(("init_lora_weights", value) for value in ("lora_ga", "unheard", None, 1, "Gaussian", "")),
    *(("fan_in_fan_out", True), ("use_dora", True), ("use_qalora", True), ("lora_bias", True)),
    *(("use_bdlora", value) for value in (False, {"nblocks": 2})),
    *(("modules_to_save", value) for value in (["lm_head"], [], ["q_proj"], "lm_head")),
    *(("trainable_token_indices", value) for value in ([1, 2], [], {"embed_tokens": [1]})),
    *(("target_parameters", value) for value in (["self_attn.q_proj.weight"], [], "x")),
    *(("layer_replication", value) for value in ([[0, 2], [1, 2]], [])),
    *(("alora_invocation_tokens", value) for value in ([5, 6], [])),
    *(
        (field, {})
        for field in ("kasa_config", "velora_config", "arrow_config", "monteclora_config", "megatron_config")
    ),
    *(("eva_config", value) for value in ({"rho": 2.0}, "much")),
    *(("loftq_config", value) for value in ({"loftq_bits": 4}, None)),
    *(("ensure_weight_tying", True), ("from_the_future", 3), ("inference_mode", False)),
]
odd = mostly(st.just([]), st.lists(st.sampled_from(ODD), min_size=1, max_size=2))
ABSENT = ("r", "lora_alpha", "use_rslora", "init_lora_weights", "rank_pattern", "alpha_pattern", "task_type")
CONFIGS = st.builds(
    lambda usual, odd, absent: {key: value for key, value in {**usual, **dict(odd)}.items() if key not in absent},
    USUAL,
    mostly(st.just([]), odd) | odd,
    mostly(st.just(frozenset()), st.frozensets(st.sampled_from(ABSENT), min_size=1, max_size=2)),
)
KEYS = ["default", "named", "two", "mixed", "bare", "doubled", "compiled", "ddp", "extra", "half"]
FILES = st.fixed_dictionaries(
    {
        "modules": mostly(st.just("as told"), st.sampled_from(["as told", "as told", "fewer", "more", "other base"])),
        "keys": mostly(st.just("plain"), mostly(st.just("plain"), st.sampled_from(KEYS))),
        "dtype": st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
        "rank": mostly(st.just("as told"), mostly(st.just("as told"), st.just("other"))),
        "seed": st.integers(0, 10_000),
    }
)


def told_modules(config: dict[str, Any], base: nn.Module) -> dict[str, int]:
    """Return the modules that PEFT adapts by this configuration, with their ranks. A guess where PEFT refuses it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = {**config, "peft_type": "LORA", "task_type": "CAUSAL_LM", "init_lora_weights": True}
            fields = {field.name for field in dataclasses.fields(LoraConfig)}
            made = LoraConfig(**{key: value for key, value in plain.items() if key in fields and key != "peft_type"})
            model = PeftModel(copy.deepcopy(base), made)
    except Exception:  # noqa: BLE001  whatever PEFT says, the folder is written all the same
        return {f"model.layers.{layer}.self_attn.q_proj": 2 for layer in range(2)}
    found = {}
    for path, module in model.base_model.model.named_modules():
        rank = getattr(module, "r", None)
        if isinstance(rank, dict) and "default" in getattr(module, "lora_A", {}):
            found[path] = module.lora_A["default"].weight.shape[0]
    return found or {"model.layers.0.self_attn.q_proj": 2}


def written(folder: Path, config: dict[str, Any], file: dict[str, Any], base: nn.Module) -> None:
    """Write an adapter folder of these settings, with random tensors."""
    modules = told_modules(config, base)
    maker = torch.Generator().manual_seed(file["seed"])
    sizes = {path: m.weight.shape for path, m in base.named_modules() if isinstance(m, nn.Linear)}
    if file["modules"] == "fewer" and len(modules) > 1:
        modules.pop(next(iter(modules)))
    elif file["modules"] == "more":
        modules.setdefault("model.layers.1.mlp.down_proj", 2)
    tensors: dict[str, Tensor] = {}
    for path, rank in modules.items():
        if path not in sizes:
            continue
        rank += file["rank"] == "other"
        down = 0.3 * torch.randn(rank, sizes[path][1], generator=maker)
        up = 0.3 * torch.randn(sizes[path][0], rank, generator=maker)
        place = path.replace("layers.1.", "layers.5.") if file["modules"] == "other base" else path
        for side, value in (("A", down), ("B", up)):
            for name in key_names(file["keys"], place, side):
                tensors[name] = value.to(file["dtype"]).contiguous() * (0.5 if "reference" in name else 1)
    if file["keys"] == "extra":
        tensors["base_model.model.model.norm.weight"] = torch.full((48,), 3.0)
    if file["keys"] == "half" and tensors:
        tensors.pop(sorted(tensors)[0])
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))


def key_names(kind: str, path: str, side: str) -> list[str]:
    """Return the names of one tensor in a file of this kind."""
    stem = f"{path}.lora_{side}"
    plain = f"base_model.model.{stem}"
    return {
        "default": [f"{plain}.default.weight"],
        "named": [f"{plain}.math.weight"],
        "two": [f"{plain}.default.weight", f"{plain}.reference.weight"],
        "mixed": [f"{plain}.weight", f"{plain}.reference.weight"],
        "bare": [f"{stem}.weight"],
        "doubled": [f"base_model.model.{plain}.weight"],
        "compiled": [f"_orig_mod.{plain}.weight"],
        "ddp": [f"module.{plain}.weight"],
    }.get(kind, [f"{plain}.weight"])


# --- the two ways of computing ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> LanguageModel:
    """Return the tiny model as PEFT is given it."""
    return load_base(str(tiny_model_folder), torch.float32)


@pytest.fixture(scope="module")
def bank(tiny_model_folder: Path) -> Bank:
    """Return the bank of the same model, as the playground computes with it."""
    return Bank(load_base(str(tiny_model_folder), torch.float32).model)


def peft_logits(base: nn.Module, folder: Path) -> Tensor | None:
    """Return what PEFT computes with the adapter, None when it cannot load it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = PeftModel.from_pretrained(copy.deepcopy(base), folder)
            with torch.inference_mode():
                logits: Tensor = model(input_ids=IDS).logits
        except Exception:  # noqa: BLE001  PEFT raises of every kind
            return None
    return logits


def own_logits(bank: Bank, adapter: Adapter) -> Tensor:
    """Return what the playground computes with the adapter alone."""
    bank.stack([adapter])
    with torch.inference_mode(), routed(Routing([RowRouting(constant=torch.tensor([0.0, 1.0]))], 2)):
        logits: Tensor = bank.model(input_ids=IDS).logits
    return logits


def test_an_adapter_gives_what_peft_gives_or_is_refused(base: LanguageModel, bank: Bank, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(config=CONFIGS, file=FILES)
    def compare(config: dict[str, Any], file: dict[str, Any]) -> None:
        folder = tmp_path / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        written(folder, config, file, base.model)
        examined = examine(folder, "generated", bank.model)
        failure = examined.checklist.failure
        if examined.adapter is None:
            assert failure is not None
            assert failure.detail
            assert failure.remedy
            outcomes[f"refused: {failure.title}"] += 1
            return
        expected = peft_logits(base.model, folder)
        assert expected is not None, "PEFT cannot load it"
        torch.testing.assert_close(own_logits(bank, examined.adapter), expected, atol=1e-4, rtol=0)
        outcomes["taken"] += 1

    compare()
    print(dict(outcomes))
    assert outcomes["taken"] > EXAMPLES // 2
    assert {"refused: Kind", "refused: Tensors", "refused: Target modules", "refused: Rank and scale"} < set(outcomes)


def test_every_field_of_peft_is_known() -> None:
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert fields == {*lora_config.OFF, *lora_config.NEUTRAL, *lora_config.READ}
    defaults = LoraConfig()
    assert (defaults.r, defaults.lora_alpha) == (DEFAULT_RANK, DEFAULT_ALPHA)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_converted_weights_are_taken_and_others_refused(
    base: LanguageModel, bank: Bank, tmp_path: Path, start: str
) -> None:
    """PEFT changes the base for these. It saves matrices for that base, or converts them for the one it began with."""
    torch.manual_seed(0)
    made = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=LEAVES, init_lora_weights=start)
    model = get_peft_model(copy.deepcopy(base.model), made)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "start")
    model.peft_config["default"].init_lora_weights = start
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    with torch.inference_mode():
        expected = model(input_ids=IDS).logits
    model.save_pretrained(tmp_path / "plain")
    model.save_pretrained(tmp_path / "converted", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    failure = examine(tmp_path / "plain", "plain", base.model).checklist.failure
    assert failure is not None
    assert f"a base that {start} changed" in failure.detail
    converted = examine(tmp_path / "converted", "converted", base.model)
    assert converted.adapter is not None, converted.checklist
    torch.testing.assert_close(own_logits(bank, converted.adapter), expected, atol=1e-4, rtol=0)
