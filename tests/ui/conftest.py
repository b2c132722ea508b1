"""A run's events and the scripted runtime, for tests that need no browser."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from playground.core.events import Event
from playground.core.values import Observe, RunRequest


def scripted_module() -> Any:
    """The module `scripted.py` beside this file; test folders are no packages, so it is loaded by its path."""
    if "scripted_runtime" not in sys.modules:
        path = Path(__file__).resolve().parent / "scripted.py"
        spec = importlib.util.spec_from_file_location("scripted_runtime", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["scripted_runtime"] = module
        spec.loader.exec_module(module)
    return sys.modules["scripted_runtime"]


@pytest.fixture
def runtime(tmp_path: Path) -> Any:
    """A scripted runtime over a fresh database, loaded."""
    made = scripted_module().scripted(tmp_path)
    made.start()
    return made


@pytest.fixture
def gate_events(runtime: Any) -> list[Event]:
    """A whole run of a gate with an observed head."""
    return list(runtime.events(RunRequest("What is 37 * 24 + 15?", "lora_mixer", observe=Observe(10, 3))))
