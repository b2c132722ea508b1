"""Programs that models write: the right and the wrong, and those that would harm the machine by accident."""

import tempfile
import time
from pathlib import Path

import pytest

from playground.learn.code_runner import FUNCTION_ENDS, SHOWN_BYTES, passes, run_python

ROW = {
    "prompt": 'def double(n: int) -> int:\n    """Twice n."""\n',
    "tests": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2",
    "entry_point": "double",
}


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("    return 2 * n", True),
        ("    import math\n    return int(math.prod((2, n)))", True),
        ("    return n + 2", False),
        ("    return 2 *", False),
        ("    raise SystemExit(0)", False),
        ("    import os\n    os._exit(0)", False),
        ("", False),
    ],
)
def test_a_completion_passes_only_when_every_test_of_the_row_ran_and_held(completion: str, right: bool) -> None:
    assert passes(ROW, completion) is right


def test_an_endless_loop_and_an_endless_wait_are_stopped() -> None:
    began = time.monotonic()
    assert run_python("while True: pass", cpu_s=1).outcome == "too long"
    assert run_python("import time\ntime.sleep(60)", wall_s=1.5).outcome == "too long"
    assert time.monotonic() - began < 20


def test_memory_is_limited() -> None:
    ran = run_python("x = bytearray(2 * 1024 ** 3)")
    assert ran.outcome == "failed"
    assert "MemoryError" in ran.output
    assert run_python("x = bytearray(32 * 1024 ** 2)").outcome == "passed"


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import multiprocessing\np = multiprocessing.Process(target=print)\np.start()",
        "import socket\nsocket.socket()",
        "import ctypes\nctypes.CDLL(None).getpid()",
        "import os\nos.kill(os.getppid(), 0)",
    ],
)
def test_no_processes_sockets_or_foreign_code(program: str) -> None:
    ran = run_python(program)
    assert ran.outcome == "failed"
    assert "not allowed here" in ran.output


def test_nothing_is_written_and_the_folder_is_gone_afterwards(tmp_path: Path) -> None:
    target = tmp_path / "stray"
    for program in (
        f"open({str(target)!r}, 'w').write('x')",
        f"import os\nos.close(os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY))",
        "open('stray', 'x')",
        f"import os\nos.mkdir({str(target)!r})",
    ):
        ran = run_python(program)
        assert ran.outcome == "failed", program
        assert "not allowed here" in ran.output
    assert not target.exists()
    said = run_python("import os\nprint(os.getcwd(), dict(os.environ))")
    folder, _, environment = said.output.strip().partition(" ")
    assert Path(folder).parent == Path(tempfile.gettempdir())
    assert not Path(folder).exists()
    assert "PATH" not in environment


def test_much_output_neither_stops_the_program_nor_fills_our_memory() -> None:
    ran = run_python("for _ in range(300):\n    print('x' * 100_000)")
    assert ran.outcome == "passed"
    assert len(ran.output) == SHOWN_BYTES


def test_standard_input_is_empty() -> None:
    assert "EOFError" in run_python("input()").output


def test_a_completion_ends_where_the_function_does() -> None:
    text = "    return 1\n\ndef other():\n    pass"
    assert text[: min(text.find(end) for end in FUNCTION_ENDS if end in text)] == "    return 1\n"
