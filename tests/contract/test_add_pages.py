"""The pages in docs/add work: a reader who copies the examples gets plug-ins that pass their contract tests.

All examples of all pages are written into one copy of the project, where only these files are new. Then the contract
tests of the copy run for them, in a process of their own.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from playground.settings import ROOT

# a view is no plug-in: its page has no example file
PAGES = sorted(page for page in (ROOT / "playground" / "docs" / "add").glob("*.md") if page.stem != "view")
BLOCK = re.compile(r"^```python\n(# (playground/\S+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
REGISTERED = re.compile(r"^@\w+\(\s*[\"']([a-z][a-z0-9_]*)[\"']", re.MULTILINE)
COPIED = ("playground", "tests")
SHARED = ("data", "static")
GENERATED = shutil.ignore_patterns("__pycache__", "screenshots")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the path and the text of each example of a page."""
    return [(path, text) for text, path in BLOCK.findall(page.read_text("utf-8"))]


def plug_ins(page: Path) -> list[str]:
    """Return the names that the examples of a page register."""
    return [name for _, text in blocks(page) for name in REGISTERED.findall(text)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with every example in its place."""
    made = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copytree(ROOT / name, made / name, ignore=GENERATED)
    for name in SHARED:
        (made / name).symlink_to(ROOT / name)
    for name in ("app.py", ".pytest.ini", ".ruff.toml"):
        shutil.copy(ROOT / name, made / name)
    (made / "tests" / "contract" / Path(__file__).name).unlink()  # or it would run itself again
    for page in PAGES:
        for path, text in blocks(page):
            assert ".." not in PurePosixPath(path).parts
            target = made / path
            assert not target.exists(), f"{page.name} would overwrite {path}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_an_example_that_registers_something(page: Path) -> None:
    assert plug_ins(page), f"{page.name} needs a python block that begins with its path: # playground/…/name.py"


def test_the_examples_pass_the_tests_of_their_kind(project: Path) -> None:
    names = [name for page in PAGES for name in plug_ins(page)]
    command = [sys.executable, "-m", "pytest", "tests/contract", "-v", "-p", "no:cacheprovider"]
    command += ["-m", "not model and not browser", "-k", " or ".join(names)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    passed = [line.partition("::")[2] for line in done.stdout.splitlines() if " PASSED" in line]
    without = [name for name in names if not any(re.search(rf"(?<![a-z0-9_]){name}(?![a-z0-9_])", p) for p in passed)]
    assert without == [], "no contract test ran for these"


def test_the_examples_are_written_as_the_project_is(project: Path) -> None:
    paths = [path for page in PAGES for path, _ in blocks(page)]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *paths], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
