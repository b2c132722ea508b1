"""Brings an adapter into a staging folder: from a folder, uploaded files, a zip archive or a model hub.

Copies only the files it knows, byte by byte and within a limit. Nothing else is unpacked, opened or followed.
"""

import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from playground.core.adapter_format import CONFIG, LENGTH_BYTES, START_BYTES, WEIGHTS, WrongFormat, header_length
from playground.core.checklist import Checklist, Line
from playground.errors import InvalidRequest
from playground.experts.adapters.cards import CARD
from playground.experts.adapters.hub_address import HubAddress, hub_address

README = "README.md"
KNOWN = (CONFIG, WEIGHTS, CARD, README)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
SIZE = "Size"  # the title of the check of the weights' size
MAX_ENTRIES = 1000
MAX_DEPTH = 3  # PEFT puts a named adapter one folder down, trainers a checkpoint, and a named one in it
MAX_DIRECTORY_BYTES = 2**20  # of a zip archive's table of contents, which the library reads whole
MAX_TEXT_BYTES = 2**20
HUB_SECONDS = 20.0
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods may unpack far more at once than was asked
PACK_AGAIN = "Pack the adapter's folder again as a plain zip file."
SAVE_SAFE = "Load it where you trust it and save it with safe_serialization=True."


class Unusable(Exception):
    """The source cannot be used. `line` is the line of the checklist that says why."""

    def __init__(self, detail: str, remedy: str, title: str = "Files") -> None:
        super().__init__(detail)
        self.line = Line(title, "fail", detail, remedy)


@dataclass(frozen=True)
class Offered:
    """One file of a source: how to open it, and the size in bytes that the source claims.

    `is_here` says that opening does not fetch the whole of it first.
    """

    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    is_here: bool = True


Offer = Mapping[str, Offered]  # by path inside the source, with forward slashes


@dataclass(frozen=True)
class Staged:
    """A source that was copied. `label` says in words where it came from, `checklist` what its files showed.

    Of weights that are too large, only the header was copied, so that the rest can still be judged.
    """

    folder: Path
    label: str
    checklist: Checklist

    @property
    def is_too_large(self) -> bool:
        """Return whether the weights were cut for their size."""
        return self.checklist.failure is not None and self.checklist.failure.title == SIZE


def stage(source: str | Sequence[Path], folder: Path, limit_bytes: int, *, endpoint: str | None = None) -> Staged:
    """Copy the adapter that `source` (a path, a hub id, or uploaded files) offers into `folder`.

    Return a checklist with a failure when the source cannot be used. Raise InvalidRequest only when `source` names
    nothing. `endpoint` is the address of another hub than the usual one.
    """
    label, offering = _offering(source, endpoint)
    lines: list[Line] = []
    try:
        with offering as offer:
            lines.append(_take(offer, folder, limit_bytes))
    except Unusable as reason:
        lines.append(reason.line)
    except OSError as error:
        detail = f"the files cannot be copied ({error.strerror})."
        lines.append(Line("Files", "fail", detail, "Make them readable, and see that the disk has room."))
    return Staged(folder, label, Checklist.of(lines))


def _offering(source: str | Sequence[Path], endpoint: str | None) -> tuple[str, AbstractContextManager[Offer]]:
    if not isinstance(source, str):
        if not source:
            raise InvalidRequest("No file was given.", f"Choose a zip file, or {CONFIG} and {WEIGHTS}.")
        if len(source) == 1 and source[0].suffix.lower() == ".zip":
            return source[0].name[:100], _from_zip(source[0])
        return "uploaded files", _from_files(source)
    text = source.strip()
    if not text:
        raise InvalidRequest("No source was given.", "Give a folder, a zip file or a hub id like owner/name.")
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return path.resolve().name[:100] or "folder", _from_folder(path)
        if path.is_file():
            if path.suffix.lower() == ".zip":
                return path.name[:100], _from_zip(path)
            raise InvalidRequest(f"{path.name} is neither a folder nor a zip file.", "Give the adapter's folder.")
    except (OSError, ValueError) as error:
        raise InvalidRequest("This path cannot be read.", "Give another path.") from error
    address = hub_address(text)
    if address is None:
        raise InvalidRequest(
            f"There is no folder or zip file {text[:120]!r}, and it is not a hub id.",
            "Give a folder, a zip file or a hub id like owner/name.",
        )
    return address.label, _from_hub(address, endpoint)


# --- the four kinds of source ---------------------------------------------------------------------------------


@contextmanager
def _from_folder(path: Path) -> Any:
    try:
        found = _files_below(path)
    except OSError as error:
        raise Unusable(f"the folder cannot be read ({error.strerror}).", "Make it readable.") from error
    yield {file.relative_to(path).as_posix(): Offered(file.stat().st_size, partial(_opened, file)) for file in found}


def _files_below(path: Path) -> list[Path]:
    """Return the files in a folder. Without an adapter there, add those of the folders below, level by level."""
    found: list[Path] = []
    level, seen = [path], 0
    for depth in range(MAX_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            try:
                entries = sorted(folder.iterdir())[: MAX_ENTRIES - seen]
            except OSError:
                if depth == 0:
                    raise
                continue  # a folder below that may not be read holds nothing for us
            seen += len(entries)
            found += [entry for entry in entries if entry.is_file()]
            below += [entry for entry in entries if entry.is_dir() and not _is_aside(entry)]
        if seen >= MAX_ENTRIES or any(file.name == CONFIG for file in found):
            break
        level = below
    return found


def _is_aside(folder: Path) -> bool:
    """Return whether a folder is no place for an adapter: hidden, or a link, which may lead in circles."""
    return folder.name.startswith(".") or folder.is_symlink()


@contextmanager
def _from_files(paths: Sequence[Path]) -> Any:
    files = [path for path in paths[:MAX_ENTRIES] if path.is_file()]
    yield {path.name: Offered(path.stat().st_size, partial(_opened, path)) for path in files}


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


@contextmanager
def _from_zip(path: Path) -> Any:
    _check_directory(path)
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
            raise Unusable("the zip file is damaged.", PACK_AGAIN) from error
        offer: dict[str, Offered] = {}
        for entry in archive.infolist():
            name = entry.filename.replace("\\", "/")  # some packers of Windows write it so
            _check_place(name)
            if name.endswith("/"):
                continue
            if _leaf(name) in KNOWN:
                _check_entry(entry)
                if name in offer:
                    raise Unusable(f"the zip file holds {name[:80]!r} twice.", PACK_AGAIN)
            offer[name] = Offered(entry.file_size, partial(archive.open, entry))
        yield offer


def _check_directory(path: Path) -> None:
    """Raise Unusable when the table of contents of an archive is too long. The library would read it whole."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 65_600))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise Unusable("this is not a zip file.", PACK_AGAIN)
    entries, length = struct.unpack("<HI", tail[at + 10 : at + 16])
    if b"PK\x06\x07" in tail or entries > MAX_ENTRIES or length > MAX_DIRECTORY_BYTES:
        raise Unusable(f"the zip file holds more than {MAX_ENTRIES} files, or is of the 64-bit kind.", PACK_AGAIN)


def _check_place(name: str) -> None:
    """Raise Unusable for a name with a place outside of the archive. Nothing is unpacked by name, but it is a sign."""
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise Unusable(f"the zip file names a file outside of itself: {name[:80]!r}.", PACK_AGAIN)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Raise Unusable for a file that may be taken and cannot be read plainly."""
    shown = repr(entry.filename[:80])
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Unusable(f"the zip file holds a link: {shown}.", PACK_AGAIN)
    if entry.flag_bits & 1:
        raise Unusable("the zip file is encrypted.", "Pack it without a password.")
    if entry.compress_type not in PLAIN_METHODS:
        raise Unusable(f"{shown} is packed by an unusual method.", PACK_AGAIN)


@contextmanager
def _from_hub(address: HubAddress, endpoint: str | None) -> Any:
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415  (half a second to import: only for a hub)
    from huggingface_hub.errors import HTTPError  # noqa: PLC0415  (as above)

    repository, revision, inside = address.repository, address.revision, address.folder
    remedy = "Check the id and the network; offline, download the repository elsewhere and give its folder or a zip."
    try:
        info = HfApi(endpoint=endpoint).model_info(
            repository, revision=revision, files_metadata=True, timeout=HUB_SECONDS
        )
        with tempfile.TemporaryDirectory(prefix="adapter-") as folder:

            def fetched(name: str) -> IO[bytes]:
                path = hf_hub_download(
                    repository, name, revision=info.sha, local_dir=folder, endpoint=endpoint, etag_timeout=HUB_SECONDS
                )
                return _opened(Path(path))

            siblings = [file for file in info.siblings or [] if file.rfilename.startswith(inside)]
            yield {
                file.rfilename: Offered(file.size or 0, partial(fetched, file.rfilename), is_here=False)
                for file in siblings
            }
    except (OSError, ValueError, HTTPError) as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise Unusable(f"{repository} cannot be fetched from the hub ({told}).", remedy, "Hub") from error


# --- what is taken of it --------------------------------------------------------------------------------------


def _take(offer: Offer, folder: Path, limit_bytes: int) -> Line:
    """Copy the adapter's own files. Return the line that says what was taken and what was left behind."""
    home = _home(offer)
    pickles = [name for name in offer if name.startswith(home) and name.lower().endswith(PICKLES)]
    weights = offer.get(home + WEIGHTS)
    if weights is None:
        if pickles:
            detail = f"the weights are a pickle ({_leaf(pickles[0])}), which can run code when it is opened."
            raise Unusable(detail, SAVE_SAFE)
        raise Unusable(f"there is no {WEIGHTS}.", "Add the file that PEFT's save_pretrained writes.")
    folder.mkdir(parents=True, exist_ok=True)
    _copy(offer[home + CONFIG], folder / CONFIG, MAX_TEXT_BYTES)
    for name in (CARD, README):
        if home + name in offer and offer[home + name].size <= MAX_TEXT_BYTES:
            _copy(offer[home + name], folder / name, MAX_TEXT_BYTES)
    _copy_weights(weights, folder / WEIGHTS, limit_bytes)
    if pickles:
        detail = f"{WEIGHTS} is used; {_leaf(pickles[0])} is a pickle and was left behind unopened."
        return Line("Files", "warn", detail)
    where = f" in {home[:80]}" if home else ""
    return Line("Files", "pass", f"{CONFIG} and {WEIGHTS} are there{where}, no pickles.")


def _home(offer: Offer) -> str:
    """Return the shallowest folder inside the source that holds an adapter, with its slash."""
    homes = sorted(
        (name.removesuffix(CONFIG) for name in offer if name.rpartition("/")[2] == CONFIG),
        key=lambda home: home.count("/"),
    )
    if not homes:
        pickles = [name for name in offer if name.lower().endswith(PICKLES)]
        more = f"; {_leaf(pickles[0])} is a pickle and is never opened" if pickles else ""
        raise Unusable(f"there is no {CONFIG}{more}.", "Give the folder that PEFT's save_pretrained writes.")
    if len(homes) > 1 and homes[0].count("/") == homes[1].count("/"):
        level = [home for home in homes if home.count("/") == homes[0].count("/")]
        told = ", ".join(home.rstrip("/")[:60] for home in level[:8])
        more = ", …" if len(level) > 8 else ""
        raise Unusable(f"it holds {len(level)} adapters: {told}{more}.", "Give one of these alone.")
    return homes[0]


def _copy_weights(offered: Offered, target: Path, limit_bytes: int) -> None:
    """Copy the weights. Of a larger file copy the header alone, where it is at hand, and raise Unusable."""
    try:
        _copy(offered, target, limit_bytes)
    except Unusable as reason:
        if reason.line.title == SIZE and offered.is_here:
            with offered.open() as source:
                start = source.read(START_BYTES)
                try:
                    length = header_length(start, limit_bytes)
                except WrongFormat:
                    length = 0  # it is not what its name says: the examination finds that out by its start
                rest = source.read(max(0, LENGTH_BYTES + length - len(start)))
            target.write_bytes(start + rest)
        raise


def _copy(offered: Offered, target: Path, limit_bytes: int) -> None:
    """Copy at most `limit_bytes`, whatever size the source claims. Raise Unusable for a larger file."""
    too_large = Unusable(
        f"{target.name} is larger than {limit_bytes / 2**20:.0f} MB.",
        "Use a smaller rank, fewer targets or float16, or raise PLAYGROUND_MAX_ADAPTER_MB.",
        SIZE if target.name == WEIGHTS else "Files",
    )
    if offered.size > limit_bytes:
        raise too_large
    left = limit_bytes
    try:
        with offered.open() as source, target.open("wb") as file:
            while block := source.read(2**20):
                left -= len(block)
                if left < 0:
                    raise too_large
                file.write(block)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise Unusable(f"{target.name} is damaged in the zip file.", PACK_AGAIN) from error


def _leaf(name: str) -> str:
    return name.rpartition("/")[2][:80]
