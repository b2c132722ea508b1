"""Where adapters lie in the wild: named ones, checkpoints, zips of other systems, pages of a hub, licences in lists."""

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from playground.core.adapter_format import CONFIG, WEIGHTS
from playground.core.checklist import Checklist, Line
from playground.experts.adapters import adding
from playground.experts.adapters.hub_address import hub_address
from playground.experts.adapters.model_card import licence_of
from playground.experts.adapters.sources import MAX_DEPTH, stage
from playground.experts.catalogue import load_catalogue

LIMIT = 2**20


def write_adapter(folder: Path, *, numbers: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}))
    save_file({"a": np.zeros(numbers, np.float32)}, folder / WEIGHTS)
    return folder


def staged(source: Path, place: Path) -> Line:
    """The line about the files of a source. What was taken lies in `place`/to."""
    [line] = stage(str(source), place / "to", LIMIT).checklist.lines
    return line


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["math_expert", "checkpoint-500", "runs/best", "a/b/c"])
def test_the_one_adapter_below_a_folder_is_found(tmp_path: Path, inside: str) -> None:
    adapter = write_adapter(tmp_path / "out" / inside)
    (tmp_path / "out" / "README.md").write_text("the trainer's own")
    line = staged(tmp_path / "out", tmp_path)
    assert (line.state, f"in {inside}/" in line.detail) == ("pass", True)
    assert (tmp_path / "to" / WEIGHTS).read_bytes() == (adapter / WEIGHTS).read_bytes()


def test_a_folders_own_adapter_comes_before_its_checkpoints(tmp_path: Path) -> None:
    own = write_adapter(tmp_path / "out", numbers=5)
    write_adapter(tmp_path / "out" / "checkpoint-10")
    write_adapter(tmp_path / "out" / "checkpoint-20")
    assert staged(own, tmp_path).state == "pass"
    assert (tmp_path / "to" / WEIGHTS).read_bytes() == (own / WEIGHTS).read_bytes()


def test_several_below_are_named(tmp_path: Path) -> None:
    for name in ("checkpoint-10", "checkpoint-20"):
        write_adapter(tmp_path / "out" / name)
    line = staged(tmp_path / "out", tmp_path)
    assert line.detail == "it holds 2 adapters: checkpoint-10, checkpoint-20."
    assert line.remedy == "Give one of these alone."


def too_deep(out: Path) -> None:
    write_adapter(out.joinpath(*"abcdefg"[: MAX_DEPTH + 1]))


def hidden(out: Path) -> None:
    write_adapter(out / ".cache")


def in_a_circle(out: Path) -> None:
    (out / "again").symlink_to(out)


@pytest.mark.parametrize("lay", [too_deep, hidden, in_a_circle])
def test_where_nothing_is_looked_for_nothing_is_found(tmp_path: Path, lay: Callable[[Path], None]) -> None:
    (tmp_path / "out").mkdir()
    lay(tmp_path / "out")
    assert "there is no adapter_config.json" in staged(tmp_path / "out", tmp_path).detail


# --- zip files --------------------------------------------------------------------------------------------------------


def pack(path: Path, names: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip with names as they are; the library would put slashes for backslashes on some systems."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in names.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            entry.compress_type = method
            archive.writestr(entry, content)
    return path


def entries(home: str, place: Path) -> dict[str, bytes]:
    folder = write_adapter(place / "lora")
    return {f"{home}{name}": (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}


@pytest.mark.parametrize(
    "home", ["lora\\", "out\\math expert\\", "out/lora\\", "mon\u00a0adaptateur/", "모델/", "\u202fx/"]
)
def test_names_of_other_systems_are_read(tmp_path: Path, home: str) -> None:
    line = staged(pack(tmp_path / "lora.zip", entries(home, tmp_path)), tmp_path)
    assert line.state == "pass", line.detail


@pytest.mark.parametrize(
    "name",
    ["lora/Icon\r", "lora/Screenshot at 3.45.12\u202fPM.png", "lora/\u200bnote\u2028.txt", "__MACOSX/lora/._x", "\x7f"],
)
def test_bystanders_of_any_name_are_passed_over(tmp_path: Path, name: str) -> None:
    line = staged(pack(tmp_path / "lora.zip", {**entries("lora/", tmp_path), name: b"x"}), tmp_path)
    assert line.state == "pass", line.detail
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [CONFIG, WEIGHTS]


def test_a_bystander_packed_by_another_method_is_passed_over(tmp_path: Path) -> None:
    path = pack(tmp_path / "lora.zip", entries("lora/", tmp_path))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("lora/notes.txt", b"x")
    assert staged(path, tmp_path).state == "pass"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("..\\..\\evil.sh", "outside of itself"),
        ("\\\\server\\share", "outside of itself"),
        ("C:\\evil.bat", "outside of itself"),
        ("lora\\adapter_config.json", "'lora/adapter_config.json' twice"),
    ],
)
def test_backslashes_are_no_way_out(tmp_path: Path, name: str, says: str) -> None:
    line = staged(pack(tmp_path / "lora.zip", {**entries("lora/", tmp_path), name: b"x"}), tmp_path)
    assert line.state == "fail"
    assert says in line.detail


# --- too large --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("deeper", ["", "modules_to_save is not supported."])
def test_of_a_large_adapter_the_header_is_examined(tmp_path: Path, packed: bool, deeper: str) -> None:
    source = write_adapter(tmp_path / "lora", numbers=LIMIT)
    if packed:
        source = pack(tmp_path / "lora.zip", {name: (source / name).read_bytes() for name in (CONFIG, WEIGHTS)})
    sizes = []

    def examine(folder: Path, name: str) -> Checklist:
        sizes.append((folder / WEIGHTS).stat().st_size)
        return Checklist((Line("Kind", "fail" if deeper else "pass", deeper or "A plain LoRA.", "Train again."),))

    pool = load_catalogue(tmp_path / "none")
    candidate = adding.check(str(source), pool=pool, added_dir=tmp_path / "added", limit_bytes=LIMIT, examine=examine)
    failure = candidate.checklist.failure
    assert failure is not None
    assert failure.detail == (deeper or f"{WEIGHTS} is larger than 1 MB.")
    assert sizes == [8 + int.from_bytes((tmp_path / "lora" / WEIGHTS).read_bytes()[:8], "little")]


# --- the hub and its model cards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repository", "revision", "folder"),
    [
        ("me/lora", "me/lora", None, ""),
        ("hf:me/lora@v1.0", "me/lora", "v1.0", ""),
        ("hf://me/lora", "me/lora", None, ""),
        ("https://huggingface.co/me/lora", "me/lora", None, ""),
        ("https://huggingface.co/me/lora/", "me/lora", None, ""),
        ("https://huggingface.co/me/lora/tree/main", "me/lora", "main", ""),
        ("https://huggingface.co/me/lora/tree/main/", "me/lora", "main", ""),
        ("https://huggingface.co/me/lora/tree/refs%2Fpr%2F3/sub/one", "me/lora", "refs/pr/3", "sub/one/"),
        ("https://huggingface.co/me/lora/blob/main/adapter_config.json", "me/lora", "main", ""),
        (
            "https://hf.co/me/lora/resolve/main/a/adapter_model.safetensors?download=true",
            "me/lora",
            "main",
            "a/",
        ),
        ("https://huggingface.co/me/lora/commit/0123abc", "me/lora", "0123abc", ""),
        ("https://huggingface.co/me/lora/discussions/2#top", "me/lora", None, ""),
        ("http://www.huggingface.co/me/lora?library=peft", "me/lora", None, ""),
        ("huggingface.co/me/lora/tree/main", "me/lora", "main", ""),
        ("hf.co/me/lora", "me/lora", None, ""),
    ],
)
def test_a_page_of_the_hub_is_understood(text: str, repository: str, revision: str | None, folder: str) -> None:
    address = hub_address(f" {text} ")
    assert address is not None
    assert (address.repository, address.revision, address.folder) == (repository, revision, folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "lora", "a/b/c", "../lora", "me/..", "me/lo ra", "\0/x", "me/lora@a b", "https://example.org/me/lora"),
        *("https://huggingface.co/datasets/me/rows", "https://huggingface.co/me", "ftp://huggingface.co/me/lora"),
        *("http://[", "https://huggingface.co.example.org/me/lora", "x" * 10_000),
    ],
)
def test_what_is_no_model_on_the_hub_is_none(text: str) -> None:
    assert hub_address(text) is None


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("license: 'Apache-2.0' # ours", "Apache-2.0"),
        ("license:\n- mit\n- cc-by-4.0", "mit, cc-by-4.0"),
        ("license:\n  - mit\n  - 'cc-by-4.0'\ntags:\n- x", "mit, cc-by-4.0"),
        ('license: [mit, "cc-by-4.0"]', "mit, cc-by-4.0"),
        ("license: other\nlicense_name: llama3.2\nlicense_link: LICENSE", "llama3.2"),
        ("tags:\n- license: mit\nx: y", ""),
        ("license: null", ""),
        ("license:", ""),
        ("a_license: mit", ""),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff", "\n"])
def test_the_licence_is_read_off_the_head_of_a_model_card(head: str, licence: str, mark: str) -> None:
    assert licence_of(f"{mark}---\n{head}\n---\nlicense: gpl\n") == licence
    assert licence_of(f"{mark}---\n{head}\n") == ""
    assert licence_of(f"# Card\n---\n{head}\n---\n") == ""


@pytest.mark.parametrize(
    "text", ["license:" + " " * 10**6, "license: " + "a " * 500_000, "- \n" * 300_000, "[" * 10**6]
)
def test_a_model_card_of_a_megabyte_is_read_at_once(text: str) -> None:
    began = time.process_time()
    licence_of(f"---\n{text}x\n---\n")
    assert time.process_time() - began < 1
