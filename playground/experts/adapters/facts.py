"""What the files of an adapter say of it: rank, scale, modules, its base, sizes and hashes. Reads no weights."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from playground.core.values import Expert
from playground.experts.catalogue import CONFIG, WEIGHTS


@dataclass(frozen=True)
class FileFact:
    """One file: its name, its size in bytes and the SHA-256 of what it holds."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class AdapterFacts:
    """`rank` and `alpha` as the configuration says them, 0 when it does not; `targets` are last names of modules."""

    rank: int
    alpha: float
    is_stabilised: bool
    targets: tuple[str, ...]
    base: str
    files: tuple[FileFact, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def facts_of(expert: Expert) -> AdapterFacts | None:
    """The facts of an adapter; None for other kinds of expert and for one whose folder cannot be read."""
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
    targets, rank, alpha = (config.get(key) for key in ("target_modules", "r", "lora_alpha"))
    named = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
    return AdapterFacts(
        rank=rank if isinstance(rank, int) else 0,
        alpha=float(alpha) if isinstance(alpha, int | float) else 0.0,
        is_stabilised=bool(config.get("use_rslora")),
        targets=tuple(sorted(str(target)[:60] for target in named))[:40],
        base=str(config.get("base_model_name_or_path") or "")[:200],
        files=files,
    )


def file_fact(path: Path) -> FileFact:
    """The file's name, size and hash. Raises OSError when it cannot be read."""
    told = path.stat()
    return _hashed(path, told.st_size, told.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, changed_ns: int) -> FileFact:
    """Hashed once for each state of the file."""
    with path.open("rb") as file:
        return FileFact(path.name, size, hashlib.file_digest(file, "sha256").hexdigest())
