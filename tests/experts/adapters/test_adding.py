"""Adapters from anywhere: what is taken of a source, what is refused and why, cards, in and out of the folder."""

import json
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import save_file

from playground.core.checklist import Checklist, Line
from playground.core.values import Pool
from playground.errors import InvalidRequest
from playground.experts.adapters import adding
from playground.experts.adapters.cards import CARD, CONFIG, WEIGHTS
from playground.experts.adapters.facts import facts_of
from playground.experts.adapters.sources import stage
from playground.experts.catalogue import load_catalogue

LIMIT = 2**20


def write_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "x/y",
    }
    (folder / CONFIG).write_text(json.dumps(config))
    save_file({"a": np.zeros((8, 4), np.float32)}, folder / WEIGHTS)
    return folder


def pack(path: Path, entries: dict[str, bytes | Path], **more: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def fits(folder: Path, name: str) -> Checklist:
    return Checklist((Line("Shapes", "pass", "They fit."),))


def checked(source: str | list[Path], place: Path, pool: Pool | None = None) -> adding.Candidate:
    known = pool or load_catalogue(place / "none")
    return adding.check(source, pool=known, added_dir=place / "added", limit_bytes=LIMIT, examine=fits)


def test_a_folder_gives_its_known_files_only(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "My LoRA")
    (folder / "handler.py").write_text("raise SystemExit")
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    staged = stage(str(folder), tmp_path / "to", LIMIT)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [CONFIG, WEIGHTS]
    [line] = staged.checklist.lines
    assert (line.state, "training_args.bin is a pickle" in line.detail) == ("warn", True)


@pytest.mark.parametrize("home", ["", "adapter/", "runs/best/"])
def test_a_zip_may_hold_the_adapter_in_a_folder(tmp_path: Path, home: str) -> None:
    folder = write_adapter(tmp_path / "lora")
    entries: dict[str, bytes | Path] = {f"{home}{name}": folder / name for name in (CONFIG, WEIGHTS)}
    entries |= {f"{home}checkpoint-10/{name}": folder / name for name in (CONFIG, WEIGHTS)}
    staged = stage(str(pack(tmp_path / "lora.zip", entries)), tmp_path / "to", LIMIT)
    assert staged.checklist.ok
    assert (tmp_path / "to" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert staged.label == "lora.zip"


def test_uploaded_files_are_taken_by_their_names(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "lora")
    assert stage([folder / WEIGHTS, folder / CONFIG], tmp_path / "to", LIMIT).checklist.ok
    assert not stage([folder / WEIGHTS], tmp_path / "to2", LIMIT).checklist.ok


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def hostile(kind: str, path: Path, adapter: Path) -> Path:
    """Return a source that must be refused."""
    files: dict[str, bytes | Path] = {name: adapter / name for name in (CONFIG, WEIGHTS)}
    if kind == "pickle":
        return pack(path, {CONFIG: adapter / CONFIG, "adapter_model.bin": b"\x80\x04cos\nsystem\n."})
    if kind == "only a pickle":
        return pack(path, {"pytorch_model.pt": b"\x80\x04."})
    if kind == "traversal":
        return pack(path, {**files, "../../evil.sh": b"x"})
    if kind == "absolute":
        return pack(path, {**files, "/etc/cron.d/evil": b"x"})
    if kind == "windows":
        return pack(path, {**files, "C:\\evil.bat": b"x"})
    if kind == "bomb":
        return pack(path, {CONFIG: adapter / CONFIG, WEIGHTS: b"\0" * (LIMIT + 1)})
    if kind == "many":
        return pack(path, {**files, **{f"{n}.txt": b"" for n in range(1001)}})
    if kind == "two":
        return pack(path, {f"{side}/{name}": adapter / name for side in "ab" for name in (CONFIG, WEIGHTS)})
    if kind == "nothing":
        return pack(path, {"readme.txt": b"hello"})
    if kind == "no weights":
        return pack(path, {CONFIG: adapter / CONFIG})
    if kind == "no zip":
        path.write_bytes(b"<html>404</html>")
        return path
    if kind == "link":
        with zipfile.ZipFile(pack(path, {CONFIG: adapter / CONFIG}), "a") as archive:
            archive.writestr(link(WEIGHTS), "/etc/passwd")
        return path
    if kind == "lzma":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            archive.write(adapter / CONFIG, CONFIG)
        return path
    pack(path, files)
    content = bytearray(path.read_bytes())
    if kind == "lying":  # the table of contents says the weights are small
        at = content.rfind(b"PK\x01\x02")
        content[at + 24 : at + 28] = struct.pack("<I", 10)
    elif kind == "damaged":
        at = content.find(b"PK\x03\x04", 10)
        content[at + 60 : at + 64] = b"\xff\xff\xff\xff"
    elif kind == "encrypted":
        at = content.rfind(b"PK\x01\x02")
        content[at + 8] |= 1
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pickle", "the weights are a pickle (adapter_model.bin)"),
        ("only a pickle", "pytorch_model.pt is a pickle"),
        ("traversal", "outside of itself: '../../evil.sh'"),
        ("absolute", "outside of itself"),
        ("windows", "outside of itself"),
        ("bomb", "larger than 1 MB"),
        ("many", "more than 1000 files"),
        ("two", "it holds 2 adapters"),
        ("nothing", "there is no adapter_config.json"),
        ("no weights", "there is no adapter_model.safetensors"),
        ("no zip", "this is not a zip file"),
        ("link", "holds a link"),
        ("lzma", "unusual method"),
        ("damaged", "damaged"),
        ("encrypted", "encrypted"),
    ],
)
def test_a_hostile_archive_is_refused_with_its_reason(tmp_path: Path, kind: str, says: str) -> None:
    path = hostile(kind, tmp_path / "x.zip", write_adapter(tmp_path / "lora"))
    candidate = checked(str(path), tmp_path)
    failure = candidate.checklist.failure
    assert failure is not None
    assert says in failure.detail
    assert failure.remedy
    assert not (tmp_path.parent / "evil.sh").exists()
    with pytest.raises(InvalidRequest):
        adding.keep(candidate, candidate.card, load_catalogue(tmp_path / "none"))
    adding.discard(candidate)
    assert list((tmp_path / "added").iterdir()) == []


def test_an_archive_that_lies_about_sizes_is_cut_at_what_it_said_or_refused(tmp_path: Path) -> None:
    path = hostile("lying", tmp_path / "x.zip", write_adapter(tmp_path / "lora"))
    staged = stage(str(path), tmp_path / "to", LIMIT)
    weights = tmp_path / "to" / WEIGHTS
    assert not staged.checklist.ok or weights.stat().st_size <= LIMIT


@pytest.mark.parametrize("source", ["", "   ", "no such thing", "../../etc/passwd", "a/b/c", "\0", "x" * 5000])
def test_a_source_that_names_nothing_says_what_to_give(tmp_path: Path, source: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked(source, tmp_path)
    assert caught.value.remedy
    assert not [path for path in (tmp_path / "added").glob("*") if not path.name.startswith(".")]


def test_the_card_is_suggested_from_what_came_along(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "Sea-Poems v2")
    (folder / "README.md").write_text("---\nlibrary_name: peft\nlicense: cc-by-nc-4.0\n---\n# Hi")
    pool = load_catalogue(tmp_path / "none")
    card = checked(str(folder), tmp_path, pool).card
    assert (card.name, card.title, card.licence) == ("sea_poems_v2", "Sea Poems v2", "cc-by-nc-4.0")
    assert card.slot not in {expert.slot for expert in pool.experts}
    assert len(card.mark) == 2
    (folder / CARD).write_text(json.dumps({"title": "<b>Poems", "examples": ["a", "b"], "slot": 99, "mark": "!!!!"}))
    told = checked(str(folder), tmp_path, pool).card
    assert (told.title, told.examples) == ("<b>Poems", ("a", "b"))
    (folder / CARD).write_text("[" * 100_000)
    assert checked(str(folder), tmp_path, pool).card.title == "Sea Poems v2"


def test_half_a_surrogate_pair_in_a_card_does_not_end_the_check(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "lora")
    (folder / CARD).write_text('{"title": "Poems \\ud800", "examples": ["\\udfff"]}')
    candidate = checked(str(folder), tmp_path)
    assert candidate.checklist.ok
    assert (candidate.card.title, candidate.card.examples) == ("Poems ?", ("?",))


def test_a_persons_fields_replace_the_suggested_ones(tmp_path: Path) -> None:
    card = checked(str(write_adapter(tmp_path / "lora")), tmp_path).card
    made = adding.card_from(
        card, name="poems", title=" Poems ", licence="", examples=["one", " ", "two"], slot=3, mark=None
    )
    assert (made.name, made.title, made.licence, made.examples) == ("poems", "Poems", "not stated", ("one", "two"))
    wrong: list[dict[str, object]] = [{"name": "Big Name"}, {"slot": 10}, {"title": " "}, {"examples": ["x"] * 17}]
    for fields in wrong:
        with pytest.raises(InvalidRequest):
            adding.card_from(card, **fields)


def test_in_and_out(tmp_path: Path) -> None:
    shipped, added = tmp_path / "shipped", tmp_path / "added"
    write_adapter(shipped / "poems")
    pool = load_catalogue(shipped, added)
    candidate = checked(str(write_adapter(tmp_path / "poems")), tmp_path, pool)
    assert candidate.card.name == "poems_2"
    assert load_catalogue(shipped, added).names == pool.names  # what is looked at is not there yet
    adding.keep(candidate, candidate.card, pool)
    with_it = load_catalogue(shipped, added)
    expert = with_it.experts[with_it.index("poems_2")]
    assert (expert.is_added, expert.ready, expert.source, expert.licence) == (True, True, "poems", "not stated")
    facts = facts_of(expert)
    assert facts is not None
    assert (facts.rank, facts.alpha, facts.targets, facts.base) == (8, 16.0, ("q_proj",), "x/y")
    assert [file.name for file in facts.files] == [WEIGHTS, CONFIG]
    assert len(facts.files[0].sha256) == 64
    second = checked(str(write_adapter(tmp_path / "poems")), tmp_path, with_it)
    assert [line.detail for line in second.checklist.lines if line.state == "warn"] == [
        "The same weights are already here as poems."
    ]
    with pytest.raises(InvalidRequest, match="taken"):
        adding.keep(second, adding.card_from(second.card, name="poems_2"), with_it)
    with pytest.raises(InvalidRequest, match="came with"):
        adding.removable(with_it, "poems")
    adding.delete(adding.removable(with_it, "poems_2"))
    assert load_catalogue(shipped, added).names == pool.names


@contextmanager
def small_hub(files: dict[str, bytes]) -> Iterator[str]:
    """Yield the address of a model hub on this machine with one repository, me/lora."""
    commit = "0" * 39 + "1"

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/me/lora"):
                listed = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                body = json.dumps({"id": "me/lora", "sha": commit, "siblings": listed}).encode()
            elif path.removeprefix(f"/me/lora/resolve/{commit}/") in files:
                body = files[path.removeprefix(f"/me/lora/resolve/{commit}/")]
            else:
                self.send_error(404)
                return
            self.send_response(200)
            for key, value in {"Content-Length": len(body), "ETag": f'"{len(body)}"', "X-Repo-Commit": commit}.items():
                self.send_header(key, str(value))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_hub_id_is_fetched_and_pickles_stay_there(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "lora")
    files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)} | {"training_args.bin": b"\x80\x04."}
    with small_hub(files) as address:
        staged = stage("me/lora", tmp_path / "to", LIMIT, endpoint=address)
    assert staged.checklist.ok, staged.checklist
    assert (tmp_path / "to" / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [CONFIG, WEIGHTS]


def test_a_pasted_page_of_a_folder_on_the_hub_is_fetched(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "lora")
    files = {f"best/{name}": (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    files |= dict.fromkeys((CONFIG, WEIGHTS), b"another")
    with small_hub(files) as address:
        page = "https://huggingface.co/me/lora/tree/main/best"
        staged = stage(page, tmp_path / "to", LIMIT, endpoint=address)
        too_large = stage(page, tmp_path / "none", 100, endpoint=address)
    assert staged.checklist.ok, staged.checklist
    assert staged.label == "me/lora/best"
    assert (tmp_path / "to" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert too_large.is_too_large
    assert [path.name for path in (tmp_path / "none").iterdir()] == [CONFIG]  # no megabytes for the header


def test_a_hub_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    staged = stage("me/lora", tmp_path / "to", LIMIT, endpoint="http://127.0.0.1:9")
    failure = staged.checklist.failure
    assert failure is not None
    assert failure.title == "Hub"
    assert "offline, download the repository elsewhere" in failure.remedy
