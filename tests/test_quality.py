"""Lint, format and types are tests, so that one command says whether a change is sound."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = [name for name in ("app.py", "playground", "tests") if (ROOT / name).exists()]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", *TARGETS], id="ruff-check"),
        pytest.param(["ruff", "format", "--check", *TARGETS], id="ruff-format"),
        pytest.param(["mypy", "--config-file", ".mypy.ini"], id="mypy"),
    ],
)
def test_quality(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
