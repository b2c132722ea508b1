"""Facts from the files of an adapter: rank, scale, modules, base model, sizes and hashes. Reads no weights."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from playground.core.adapter_format import CONFIG, DEFAULT_ALPHA, DEFAULT_RANK, WEIGHTS
from playground.core.values import Expert


@dataclass(frozen=True)
class FileFact:
    """One file: its name, its size in bytes and the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter's files say. `rank` and `alpha` are 0 when not stated; `targets` are the ends of module names."""

    rank: int
    alpha: float
    is_stabilised: bool
    targets: tuple[str, ...]
    base: str
    files: tuple[FileFact, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


def facts_of(expert: Expert) -> AdapterFacts | None:
    """Return the facts of an adapter. None for other kinds of expert, and when the folder cannot be read."""
    if expert.kind != "lora" or not expert.folder:
        return None
    folder = Path(expert.folder)
    try:
        config: Any = json.loads((folder / CONFIG).read_bytes())
        files = tuple(file_fact(folder / name) for name in (WEIGHTS, CONFIG))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    targets, rank = config.get("target_modules"), config.get("r", DEFAULT_RANK)
    alpha = config.get("lora_alpha", DEFAULT_ALPHA)
    named = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
    return AdapterFacts(
        rank=rank if isinstance(rank, int) else 0,
        alpha=float(alpha) if isinstance(alpha, int | float) else 0.0,
        is_stabilised=bool(config.get("use_rslora")),
        targets=tuple(sorted(str(target)[:60] for target in named))[:40],
        base=str(config.get("base_model_name_or_path") or "")[:1000],
        files=files,
    )


def file_fact(path: Path) -> FileFact:
    """Return the file's name, size and hash. Raise OSError when it cannot be read."""
    told = path.stat()
    return _hashed(path, told.st_size, told.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, changed_ns: int) -> FileFact:
    """Return the fact of one state of a file, so that each state is hashed once."""
    with path.open("rb") as file:
        return FileFact(path.name, size, hashlib.file_digest(file, "sha256").hexdigest())
