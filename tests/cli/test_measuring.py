"""Measuring on the command line: the JSON that the documentation promises, and the text that a person sees."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from playground.cli.app import app
from playground.settings import ROOT, Settings, get_settings


@pytest.fixture
def run_tiny(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command with the tiny model and two tiny experts, alpha and beta."""
    for name in ("cache_dir", "data_dir", "experts_dir", "base_model", "dtype", "threads"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(tiny_settings, name)))
    monkeypatch.delenv("PLAYGROUND_BENCH_DATA", raising=False)

    def command(*words: str, code: int = 0) -> Result:
        get_settings.cache_clear()
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, (result.stderr, result.exception)
        return result

    return command


def test_evaluate_refusals_and_shift_answer_with_one_object_each(run_tiny: Any, tmp_path: Path) -> None:
    words = ("experts", "evaluate", "--limit", "2", "--exact", "0", "--sets", "sst2,medqa")
    result = run_tiny(*words, "--json")
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert set(found["sets"]) == {"sst2", "medqa"}
    for values in found["sets"].values():
        assert values["n"] == 2
        assert {"base", "alpha", "beta", "uniform", "arrow"} <= set(values["systems"])
        assert all({"score", "low", "high"} <= set(one) for one in values["systems"].values())
    assert set(found["average"]) == set(found["sets"]["sst2"]["systems"])
    assert "lora_mixer is left out" in result.stderr  # its experts are not alpha and beta
    told = run_tiny(*words, "--systems", "alpha").stdout
    assert [line.split()[0] for line in told.splitlines()[:3]] == ["system", "base", "alpha"]
    assert "beta" not in told

    refused = json.loads(run_tiny("experts", "refusals", "--limit", "1", "--systems", "arrow", "--json").stdout)
    for kind in ("harmful", "lookalike"):
        assert set(refused["refusals"][kind]) == {"base", "arrow"}

    row = {"first": "Add 1.", "second": "Be sad.", "first_expert": "alpha", "second_expert": "beta"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    shifted = json.loads(run_tiny("routers", "shift", "--file", str(tmp_path / "rows.jsonl"), "--json").stdout)
    assert shifted["two_part"]["arrow"]["n"] == 2
    assert shifted["two_part"]["arrow"]["median_ratio"] > 0


def test_what_is_not_there_is_named(run_tiny: Any, tmp_path: Path) -> None:
    said = json.loads(run_tiny("experts", "evaluate", "--systems", "nobody", "--json", code=1).stdout)
    assert "nobody" in said["error"]
    assert "uniform" in said["remedy"]
    said = json.loads(run_tiny("experts", "evaluate", "--test", str(tmp_path / "gone"), "--json", code=1).stdout)
    assert "gone" in said["error"]


def test_the_small_sets_of_the_project_cover_all_that_is_measured() -> None:
    from playground.learn.tasks import MEASURED, TASKS  # noqa: PLC0415

    for name in MEASURED:
        assert (ROOT / "data" / "bench" / "experts" / TASKS[name].folder / "test.jsonl").is_file(), name
