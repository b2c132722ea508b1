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
from pathlib import Path, PurePosixPath
from typing import IO, Any

from playground.core.checklist import Checklist, Line
from playground.errors import InvalidRequest
from playground.experts.adapters.cards import CARD, CONFIG, WEIGHTS

README = "README.md"
HUB_ID = re.compile(
    r"^(?:https://huggingface\.co/|hf:)?(?P<id>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w.-]{1,64}))?/?$"
)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
MAX_ENTRIES = 1000
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
    """One file of a source: how to open it, and the size in bytes that the source claims."""

    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


Offer = Mapping[str, Offered]  # by path inside the source, with forward slashes


@dataclass(frozen=True)
class Staged:
    """A source that was copied. `label` says in words where it came from, `checklist` what its files showed."""

    folder: Path
    label: str
    checklist: Checklist


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
    match = HUB_ID.match(text)
    if not match:
        raise InvalidRequest(
            f"There is no folder or zip file {text[:120]!r}, and it is not a hub id.",
            "Give a folder, a zip file or a hub id like owner/name.",
        )
    return match["id"], _from_hub(match["id"], match["revision"], endpoint)


# --- the four kinds of source ---------------------------------------------------------------------------------


@contextmanager
def _from_folder(path: Path) -> Any:
    try:
        found = [entry for entry in sorted(path.iterdir())[:MAX_ENTRIES] if entry.is_file()]
    except OSError as error:
        raise Unusable(f"the folder cannot be read ({error.strerror}).", "Make it readable.") from error
    yield _offer_of(found)


@contextmanager
def _from_files(paths: Sequence[Path]) -> Any:
    yield _offer_of([path for path in paths[:MAX_ENTRIES] if path.is_file()])


def _offer_of(paths: Sequence[Path]) -> Offer:
    return {path.name: Offered(path.stat().st_size, partial(_opened, path)) for path in paths}


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
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            _check_entry(entry)
        yield {entry.filename: Offered(entry.file_size, partial(archive.open, entry)) for entry in entries}


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


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    shown = repr(name[:80])
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:", name) or not name.isprintable():
        raise Unusable(f"the zip file names a file outside of itself: {shown}.", PACK_AGAIN)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Unusable(f"the zip file holds a link: {shown}.", PACK_AGAIN)
    if entry.flag_bits & 1:
        raise Unusable("the zip file is encrypted.", "Pack it without a password.")
    if entry.compress_type not in PLAIN_METHODS:
        raise Unusable(f"{shown} is packed by an unusual method.", PACK_AGAIN)


@contextmanager
def _from_hub(repository: str, revision: str | None, endpoint: str | None) -> Any:
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415  (half a second to import: only for a hub)
    from huggingface_hub.errors import HTTPError  # noqa: PLC0415  (as above)

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

            siblings = info.siblings or []
            yield {file.rfilename: Offered(file.size or 0, partial(fetched, file.rfilename)) for file in siblings}
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
    _copy(weights, folder / WEIGHTS, limit_bytes)
    _copy(offer[home + CONFIG], folder / CONFIG, MAX_TEXT_BYTES)
    for name in (CARD, README):
        if home + name in offer and offer[home + name].size <= MAX_TEXT_BYTES:
            _copy(offer[home + name], folder / name, MAX_TEXT_BYTES)
    if pickles:
        detail = f"{WEIGHTS} is used; {_leaf(pickles[0])} is a pickle and was left behind unopened."
        return Line("Files", "warn", detail)
    return Line("Files", "pass", f"{CONFIG} and {WEIGHTS} are there, no pickles.")


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
        raise Unusable(f"it holds {len(homes)} adapters.", "Give one adapter at a time.")
    return homes[0]


def _copy(offered: Offered, target: Path, limit_bytes: int) -> None:
    """Copy at most `limit_bytes`, whatever size the source claims. Raise Unusable for a larger file."""
    too_large = Unusable(
        f"{target.name} is larger than {limit_bytes / 2**20:.0f} MB.",
        "Use a smaller rank, fewer targets or float16, or raise PLAYGROUND_MAX_ADAPTER_MB.",
        "Size",
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
