"""The browser's modules: line length, keys of the wire, and where node is there lint, format and unit tests."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from playground.core.events import Decided, Event, Finished, PromptRead, RunStarted, TokenGenerated
from playground.core.values import Expert, Pool, Text
from playground.ui import wire
from playground.ui.assets import modules, page_head, version

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
STATIC = ROOT / "static"
FILES = [*sorted(STATIC.rglob("*.js")), *sorted(HERE.glob("*.js"))]
LONGEST = 120
# Changes with every version in package.json, so that a newer one is installed.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "routing-playground" / "node"
NODE, NPM = shutil.which("node"), shutil.which("npm")
needs_node = pytest.mark.skipif(NODE is None, reason="node is missing: install Node 20 or newer")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_is_too_long(path: Path) -> None:
    long = [number for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if len(line) > LONGEST]
    assert long == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_one_class_a_file_and_imports_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(re.findall(r"^(?:export )?class ", text, re.MULTILINE)) <= 1
    for found in re.findall(r"from '([^']+)'", text):
        if not found.startswith("node:"):
            assert (path.parent / found).is_file(), found


def javascript_keys() -> dict[str, list[str]]:
    """Return the table of `static/run/wire.js`: the keys of each kind."""
    text = (STATIC / "run" / "wire.js").read_text("utf-8")
    table = re.search(r"export const WIRE = \{(.*?)\n\};", text, re.DOTALL)
    assert table is not None
    return {kind: re.findall(r"'(\w+)'", keys) for kind, keys in re.findall(r"(\w+): \[(.*?)\]", table[1], re.DOTALL)}


def test_the_browser_reads_the_keys_that_the_server_writes() -> None:
    assert javascript_keys() == {line.kind: wire.keys_of(line) for line in wire.LINES}


def test_the_page_on_the_wire_format_is_not_stale() -> None:
    page = ROOT / "playground" / "docs" / "wire-format.md"
    assert page.read_text("utf-8") == wire.wire_markdown(), (
        "write it anew: python -c 'from playground.ui.wire import wire_markdown; print(wire_markdown(), end=\"\")'"
        " > playground/docs/wire-format.md"
    )


def test_a_key_without_a_value_is_left_out() -> None:
    line = wire.record(wire.WaitingLine(sentence="soon"))
    assert json.loads(line) == {"kind": "waiting", "sentence": "soon"}


def small_lines() -> str:
    """Return the lines of a gate's run over three experts and two layers: four tokens read, three written."""
    names = ("base", "one", "two")
    pool = Pool(tuple(Expert(name, "lora", name.title(), "", name[:2].title(), i) for i, name in enumerate(names)))
    gate = np.array([[0.2, 0.7, 0.1], [0.4, 0.5, 0.1]], np.float16)
    turned = gate[:, [1, 0, 2]]
    weights = [layers.astype(np.float32).mean(axis=0) for layers in (gate, gate, turned)]
    started = RunStarted(
        run_id="r1", seq=0, at=0.0, prompt="Hi there", router="mixer", version="v1", level="gate", pool=names, seed=0,
        layers=2, heads=2, observed_layer=1, observed_head=0,
    )  # fmt: skip
    events: list[Event] = [
        started,
        Decided(weights[0], weights[0], "mixture", Text("Because."), run_id="r1", seq=1, at=0.1),
        PromptRead(("<s>", "Hi", " there", "</s>"), np.stack([gate] * 4), (1, 3), run_id="r1", seq=2, at=0.2),
    ]
    for i, (text, layers) in enumerate(zip(("One", ", two", "."), (gate, gate, turned), strict=True)):
        attention = np.full(4 + i, 0.2, np.float16)
        likely = ((text, 0.9), ("else", 0.1))
        place = {"run_id": "r1", "seq": 3 + i, "at": 0.5 + 0.1 * i}
        events.append(TokenGenerated(i, text, i, weights[i], layers, attention, -0.1, 0.3, likely, **place))
    usage = np.mean(weights, axis=0)
    timings = {"total_s": 1.0, "first_token_s": 0.4}
    events.append(Finished("One, two.", usage, 3, 4, timings, "stop", run_id="r1", seq=6, at=1.0))
    return wire.opening("1", note="a note") + wire.lines(events, pool)


def test_the_lines_that_the_fold_is_tested_on_are_not_stale() -> None:
    kept = HERE / "run-lines.jsonl"
    if "REWRITE_LINES" in os.environ:
        kept.write_text(small_lines(), "utf-8")
    assert kept.read_text("utf-8") == small_lines(), "write them anew: REWRITE_LINES=1 pytest tests/js"


def test_the_head_names_modules_by_relative_addresses() -> None:
    head = page_head()
    assert f'src="./browser-modules/{version()}/page/main.js"' in head
    assert head.count("modulepreload") == len(modules())
    assert str(ROOT) not in head
    assert "http" not in head


@pytest.fixture(scope="session")
def biome() -> Path:
    """Return the pinned linter, which is installed once into this user's cache."""
    if NPM is None:
        pytest.skip("npm is missing: install Node 20 or newer")
    pinned = json.loads((HERE / "package.json").read_text("utf-8"))["devDependencies"]
    name = "+".join(f"{package.rpartition('/')[2]}-{number}" for package, number in pinned.items())
    folder = CACHE / name
    program = folder / "node_modules" / ".bin" / "biome"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            staged = Path(place) / "staged"
            staged.mkdir()
            shutil.copy(HERE / "package.json", staged)
            command = [NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
            try:
                done = subprocess.run(command, cwd=staged, capture_output=True, text=True, timeout=120)
            except subprocess.TimeoutExpired:
                pytest.skip("the npm registry does not answer")
            if done.returncode:
                pytest.skip(f"the linter cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
            if not folder.exists():
                staged.rename(folder)  # at once, so that another run never sees a half of it
    return program


@needs_node
def test_modules_are_formatted_and_lint_clean(biome: Path) -> None:
    command = [str(biome), "ci", "--error-on-warnings", "--colors=off"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"run: {biome} check --write\n{done.stdout}\n{done.stderr}"


@needs_node
def test_the_fold_and_the_formatters(tmp_path: Path) -> None:
    assert NODE is not None
    tests = [str(path) for path in sorted(HERE.glob("*.test.js"))]
    done = subprocess.run([NODE, "--test", *tests], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
