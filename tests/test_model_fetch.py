"""The language model is fetched before the first test that needs it, outside its time limit."""

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.model_fetch import Teller

ROOT = Path(__file__).resolve().parent.parent
WAIT_SECONDS = 4.0
CONFTEST = "from tests.conftest import pytest_collection_finish"
TESTS = """
import pytest

@pytest.mark.model
@pytest.mark.timeout(2)
def test_with_the_model():
    pass

def test_without():
    pass
"""


class SlowIndex(BaseHTTPRequestHandler):
    """A package index that takes its time and then has nothing."""

    asked: int

    def do_GET(self) -> None:
        type(self).asked += 1
        time.sleep(WAIT_SECONDS)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow_index() -> Iterator[str]:
    """The address of an index that is slower than the time limit of the test that needs it."""
    SlowIndex.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowIndex) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def run_tests(folder: Path, index: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run two tests on a machine with an empty cache; one of them needs the model."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(
        (ROOT / ".pytest.ini").read_text().replace("pythonpath = .", f"pythonpath = {ROOT}")
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), str(folder)]
    return subprocess.run(
        [*command, *words],
        cwd=folder,
        env={"PATH": "", "PLAYGROUND_CACHE_DIR": str(folder / "cache"), "PLAYGROUND_PACKAGE_INDEX": index},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_model_is_fetched_before_the_time_limit_of_a_test_begins(tmp_path: Path, slow_index: str) -> None:
    done = run_tests(tmp_path, slow_index)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert SlowIndex.asked > 0
    assert "It is fetched once" in done.stderr
    assert "It cannot be had" in done.stderr


@pytest.mark.parametrize("words", [("-k", "without"), ("--collect-only",)])
def test_nothing_is_fetched_for_tests_that_do_not_need_it(
    tmp_path: Path, slow_index: str, words: tuple[str, ...]
) -> None:
    done = run_tests(tmp_path, slow_index, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SlowIndex.asked == 0


def test_progress_is_told_by_phase_and_at_the_end() -> None:
    told = io.StringIO()
    tell = Teller(told)
    for done in range(0, 94):
        tell("downloading", done * 1_000_000, 93_000_000)
    tell("converting", 0, 0)
    assert told.getvalue().splitlines() == ["  downloading 0 of 93 MB", "  downloading 93 of 93 MB", "  converting"]
