"""Know the two files of a PEFT adapter by their bytes: `adapter_config.json` and `adapter_model.safetensors`.

A safetensors file begins with 8 bytes, the length of a JSON header. The header gives format, shape and place of each
tensor, so that everything but the numbers can be checked without reading them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DEFAULT_RANK = DEFAULT_ALPHA = 8  # of peft.LoraConfig, for a configuration that does not say
MAX_CONFIG_BYTES = 2**20
MAX_HEADER_BYTES = 16 * 2**20
START_BYTES = 64  # enough of a file to see whether another file stands in its place
LENGTH_BYTES = 8
SAVE_AGAIN = "Save it again with PEFT's save_pretrained."


class WrongFormat(ValueError):
    """A file is not what its name says. `detail` says what it is, `remedy` what helps."""

    def __init__(self, detail: str, remedy: str = SAVE_AGAIN) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


@dataclass(frozen=True)
class TensorEntry:
    """Hold what the header says of a tensor: its number format, like 'F32', and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        """Return whether its numbers are of a floating-point format."""
        return self.dtype.startswith(("F", "BF"))


@dataclass(frozen=True)
class Header:
    """Hold the header of a safetensors file. `size` is how many bytes the whole file has by it."""

    tensors: Mapping[str, TensorEntry]
    size: int


def refuse_stand_in(name: str, start: bytes) -> None:
    """Raise WrongFormat when the first bytes show a pointer or a web page in place of the file called `name`."""
    if start.startswith(b"version https://git-lfs"):
        remedy = "Fetch the file itself with git lfs pull, or download it from the hub's page."
        raise WrongFormat(f"{name} is a Git LFS pointer, not the file itself.", remedy)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise WrongFormat(f"{name} is a web page, not the file itself.", "Download the file itself, not its page.")
    if start.startswith(b"PK\x03\x04") or start.startswith(b"\x80\x02") or start.startswith(b"\x80\x04"):
        raise WrongFormat(f"{name} is a pickle of PyTorch, which is never opened.", SAVE_AGAIN)


def parse_config(raw: bytes) -> dict[str, Any]:
    """Return the configuration in `raw`. A byte-order mark is allowed. Raise WrongFormat."""
    refuse_stand_in(CONFIG, raw[:START_BYTES])
    if len(raw) > MAX_CONFIG_BYTES:
        raise WrongFormat(f"{CONFIG} is larger than 1 MB.")
    try:
        config: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WrongFormat(f"{CONFIG} cannot be read as JSON ({str(error)[:120]}).") from error
    if not isinstance(config, dict):
        raise WrongFormat(f"{CONFIG} is not the configuration of a LoRA adapter.")
    return config


def header_length(start: bytes, size: int) -> int:
    """Return how many bytes the header of a weights file has. `start` is how the file begins. Raise WrongFormat."""
    refuse_stand_in(WEIGHTS, start[:START_BYTES])
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or not 2 <= length <= size - LENGTH_BYTES:
        raise WrongFormat(f"{WEIGHTS} is damaged: it has no header of safetensors.")
    if length > MAX_HEADER_BYTES:
        raise WrongFormat(f"{WEIGHTS} has a header of more than {MAX_HEADER_BYTES // 2**20} MB.")
    return length


def parse_header(raw: bytes) -> Header:
    """Return the header in `raw`, the JSON after the length. Raise WrongFormat."""
    try:
        entries: Any = json.loads(raw, object_pairs_hook=_each_once)
        entries.pop("__metadata__", None)
        tensors = {
            name: TensorEntry(str(entry["dtype"]), tuple(int(length) for length in entry["shape"]))
            for name, entry in entries.items()
        }
        ends = [int(entry["data_offsets"][1]) for entry in entries.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise WrongFormat(f"{WEIGHTS} is damaged: its header cannot be read.") from error
    return Header(tensors, LENGTH_BYTES + len(raw) + max(ends, default=0))


def base_leaf(name: str) -> str:
    """Return the last part of a base model's name: of a hub id, a folder, or a snapshot in a hub's cache."""
    parts = [part for part in name[:1000].replace("\\", "/").split("/") if part]
    for part in parts:
        if part.startswith("models--"):
            return part.rpartition("--")[2][:100]
    return parts[-1][:100] if parts else ""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table of `pairs`. Raise ValueError for a name that stands twice: readers differ in which one counts."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table
