"""Read what an adapter's configuration makes PEFT compute: which modules, which rank, which scale.

The fields, their defaults and their meaning are those of `peft.LoraConfig`. What would make PEFT compute more than
B A x beside the base is refused, and so is what PEFT itself cannot load. PEFT is not imported, because that takes
seconds of every start; a test holds this module to it.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from playground.core.adapter_format import DEFAULT_ALPHA, DEFAULT_RANK
from playground.model.patterns import CannotMatch, Expression, Matches, match_names

N = TypeVar("N", int, float)
KIND, TARGETS, RANK = "Kind", "Target modules", "Rank and scale"
SAVE_AGAIN = "Save the adapter again with PEFT's save_pretrained."
# Each of these makes PEFT compute something else than B A x. The values are those that switch it off.
OFF: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "use_qalora": (None, False),
    "lora_bias": (None, False),
    "ensure_weight_tying": (None, False),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    "trainable_token_indices": (None,),
    "use_bdlora": (None,),
    "velora_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "arrow_config": (None,),
    "megatron_config": (None,),
}
# These change nothing of what a trained adapter computes on linear modules.
SUBTABLES = ("loftq_config", "eva_config", "corda_config", "lora_ga_config")
NEUTRAL = {
    *("peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode"),
    *("runtime_config", "megatron_core", "qalora_group_size", "fan_in_fan_out", *SUBTABLES),
}
# These are read below.
READ = {
    *("task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "init_lora_weights", "target_modules"),
    *("exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
}
ALL_LINEAR = "all-linear"
CHANGE_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
ZERO_STARTS = (True, "gaussian", "eva", "mica")  # a module without trained matrices adds nothing
STARTS = (None, False, "orthogonal", *ZERO_STARTS)
FIRST_NUMBER = re.compile(r"\.[^.]*\.(\d+)\.")  # PEFT's layer of a module when no layers_pattern is given


class RefusedConfig(ValueError):
    """The configuration is of an adapter that cannot be mixed. `title` names the check that failed."""

    def __init__(self, title: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.title = title
        self.detail = detail
        self.remedy = remedy


@dataclass(frozen=True)
class Plan:
    """Hold what PEFT does with the modules of a base: the `targeted` ones, and for each its rank and alpha."""

    targeted: frozenset[str]
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]


@dataclass(frozen=True)
class LoraSettings:
    """Hold the fields of a plain LoRA's configuration that say what is computed.

    `targets` and `excluded` are ends of module names, or one expression. `layers` is None where every layer counts.
    `begins_at_zero` says that a targeted module without matrices in the file adds nothing.
    """

    targets: frozenset[str] | str
    excluded: frozenset[str] | str
    layers: frozenset[int] | None
    layers_pattern: tuple[str, ...]
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    is_stabilised: bool
    begins_at_zero: bool
    needs_even_rank: bool
    unknown: tuple[str, ...]

    def scale(self, alpha: float, rank: int) -> float:
        """Return alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (arXiv:2312.03732)."""
        return alpha / math.sqrt(rank) if self.is_stabilised else alpha / rank

    def plan(self, names: Sequence[str], linear: Collection[str]) -> Plan:
        """Return what PEFT makes of a base with modules `names`. `linear` are those that "all-linear" means.

        Raise RefusedConfig when an expression cannot be used.
        """
        matched = _Matched(self, names)
        targeted = frozenset(name for name in names if name and self._is_targeted(name, matched, linear))
        ranks = matched.values("rank_pattern", self.rank_pattern)
        alphas = matched.values("alpha_pattern", self.alpha_pattern)
        return Plan(
            targeted,
            {name: ranks.get(name, self.rank) for name in targeted},
            {name: alphas.get(name, self.alpha) for name in targeted},
        )

    def _is_targeted(self, name: str, matched: "_Matched", linear: Collection[str]) -> bool:
        if matched.is_excluded(name):
            return False
        if isinstance(self.targets, str):
            return name in linear if self.targets.lower() == ALL_LINEAR else matched.is_whole("target_modules", name)
        if name in self.targets:
            return True
        return _names(self.targets, name) and (self.layers is None or matched.layer(name) in self.layers)


class _Matched:
    """Hold the expressions of a configuration, matched at once against the names of a base's modules."""

    def __init__(self, settings: LoraSettings, names: Sequence[str]) -> None:
        self.settings = settings
        told: list[tuple[str, Expression]] = []  # (the field, the expression as PEFT makes it)
        if isinstance(settings.targets, str) and settings.targets.lower() != ALL_LINEAR:
            told.append(("target_modules", ("fullmatch", settings.targets)))
        if isinstance(settings.excluded, str):
            told.append(("exclude_modules", ("fullmatch", settings.excluded)))
        if settings.layers is not None:
            made = (rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in settings.layers_pattern)
            told += [("layers_pattern", ("match", expression)) for expression in made]
        for field, table in (("rank_pattern", settings.rank_pattern), ("alpha_pattern", settings.alpha_pattern)):
            told += [(field, ("match", rf"(.*\.)?({pattern})$")) for pattern in table]
        try:
            found = match_names([expression for _, expression in told], names)
        except CannotMatch as error:
            fields = [told[error.number][0]] if error.number >= 0 else list(dict.fromkeys(field for field, _ in told))
            detail = f"the expressions in {', '.join(fields)} cannot be used: {error}."
            raise RefusedConfig(TARGETS, detail, "Name the modules in full instead.") from error
        self._found: dict[str, list[Matches]] = {}
        for (field, _), matches in zip(told, found, strict=True):
            self._found.setdefault(field, []).append(matches)

    def is_excluded(self, name: str) -> bool:
        """Return whether `exclude_modules` names the module."""
        excluded = self.settings.excluded
        return self.is_whole("exclude_modules", name) if isinstance(excluded, str) else _names(excluded, name)

    def is_whole(self, field: str, name: str) -> bool:
        """Return whether the one expression of `field` matches the whole name."""
        return name in self._found[field][0]

    def layer(self, name: str) -> int | None:
        """Return the layer of a module, as PEFT reads it off its name."""
        if not self.settings.layers_pattern:
            match = FIRST_NUMBER.search(name)
            return int(match[1]) if match else None
        told = next((found.groups[name] for found in self._found["layers_pattern"] if name in found), None)
        return None if told is None else int(told)

    def values(self, field: str, table: Mapping[str, N]) -> dict[str, N]:
        """Return the values of `table` by the names that its patterns match. The first pattern that matches counts."""
        by_name: dict[str, N] = {}
        for value, matches in zip(table.values(), self._found.get(field, []), strict=True):
            for name in matches.groups:
                by_name.setdefault(name, value)
        return by_name


def _names(ends: Collection[str], name: str) -> bool:
    """Return whether `name` is one of `ends`, or ends with a dot and one of them."""
    parts = name.split(".")
    return any(".".join(parts[start:]) in ends for start in range(len(parts)))


# --- from the file ----------------------------------------------------------------------------------------------------


def read_settings(config: Mapping[str, Any]) -> LoraSettings:
    """Return what a configuration says. Raise RefusedConfig when PEFT would compute more than a plain LoRA, or fail."""
    _refuse_other_kinds(config)
    start = config.get("init_lora_weights", True)
    layers = _layers(config)
    targets = _modules(config, "target_modules")
    if not targets:
        raise RefusedConfig(TARGETS, "the configuration names no target_modules.", "Name them in the configuration.")
    pattern = config.get("layers_pattern")
    if isinstance(targets, str) and (config.get("layers_to_transform") is not None or pattern is not None):
        detail = "target_modules is an expression, and layers_to_transform or layers_pattern is set too."
        raise RefusedConfig(TARGETS, detail, "PEFT takes one or the other.")
    if pattern and config.get("layers_to_transform") is None:
        raise RefusedConfig(TARGETS, "layers_pattern is set without layers_to_transform.", SAVE_AGAIN)
    ranks = {name: _rank(value, "rank_pattern") for name, value in _table(config, "rank_pattern").items()}
    alphas = {name: _number(value, "alpha_pattern") for name, value in _table(config, "alpha_pattern").items()}
    return LoraSettings(
        targets=targets,
        excluded=_modules(config, "exclude_modules"),
        layers=layers,
        layers_pattern=_texts(pattern, "layers_pattern"),
        rank=_rank(config.get("r", DEFAULT_RANK), "r"),
        alpha=_number(config.get("lora_alpha", DEFAULT_ALPHA), "lora_alpha"),
        rank_pattern=ranks,
        alpha_pattern=alphas,
        is_stabilised=bool(config.get("use_rslora")),
        begins_at_zero=start in ZERO_STARTS,
        needs_even_rank=start == "orthogonal",
        unknown=tuple(sorted(str(name)[:60] for name in set(config) - NEUTRAL - READ - set(OFF) if config[name])),
    )


def _refuse_other_kinds(config: Mapping[str, Any]) -> None:
    """Raise RefusedConfig for an adapter that is more than B A x, or that belongs to another base than it names."""
    kind = config.get("peft_type")
    if kind != "LORA":
        told = f" but {str(kind)[:40]}" if kind else ""
        raise RefusedConfig(KIND, f"this is not a LoRA adapter{told}.", "Only PEFT's LORA type can be mixed.")
    for field, off in OFF.items():
        value = config.get(field)
        if not any(value is each or (value == each and isinstance(value, list)) for each in off):
            raise RefusedConfig(KIND, f"{field} is not supported.", "Train a plain LoRA.")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(CHANGE_BASE):
        detail = f"its weights belong to a base that {start[:20]} changed, not to the base itself."
        remedy = "Convert it on saving: save_pretrained(…, path_initial_model_for_weight_conversion=…)."
        raise RefusedConfig(KIND, detail, remedy)
    if not any(start is each or (start == each and isinstance(start, str)) for each in STARTS):
        raise RefusedConfig(KIND, f"init_lora_weights {str(start)[:40]!r} is not known.", SAVE_AGAIN)
    task = config.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise RefusedConfig(KIND, f"it was trained for {str(task)[:40]}, not to write text.", "Train it for CAUSAL_LM.")
    if config.get("bias", "none") not in ("none", "all", "lora_only"):
        raise RefusedConfig(KIND, f"bias {str(config['bias'])[:40]!r} is not known.", SAVE_AGAIN)
    dropout = config.get("lora_dropout", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise RefusedConfig(KIND, f"lora_dropout is {str(dropout)[:40]}, not a share.", SAVE_AGAIN)
    for field in SUBTABLES:
        if not isinstance(config.get(field), dict | None):
            raise RefusedConfig(KIND, f"{field} is not a table.", SAVE_AGAIN)


def _modules(config: Mapping[str, Any], field: str) -> frozenset[str] | str:
    """Return the ends of module names in `field`, or its expression."""
    value = config.get(field)
    return value if isinstance(value, str) and value else frozenset(_texts(value, field))


def _texts(value: Any, field: str) -> tuple[str, ...]:
    """Return the texts in a list, or one text alone. Nothing gives none."""
    listed = [value] if isinstance(value, str) and value else value or []
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise RefusedConfig(TARGETS, f"{field} is neither a list of names nor an expression.", SAVE_AGAIN)
    return tuple(listed)


def _layers(config: Mapping[str, Any]) -> frozenset[int] | None:
    """Return the layers that are adapted, None for every layer."""
    value = config.get("layers_to_transform")
    listed = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(layer, int) and not isinstance(layer, bool) for layer in listed):
        raise RefusedConfig(TARGETS, "layers_to_transform holds something else than layers.", SAVE_AGAIN)
    return frozenset(listed) or None


def _table(config: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = config.get(field, {})
    if not isinstance(value, dict):
        raise RefusedConfig(RANK, f"{field} is not a table.", SAVE_AGAIN)
    return value


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise RefusedConfig(RANK, f"{field} is {str(value)[:40]}, not a usable number.", SAVE_AGAIN)
    return float(value)


def _rank(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**6:
        raise RefusedConfig(RANK, f"{field} is {str(value)[:40]}, not a usable number.", SAVE_AGAIN)
    return value
