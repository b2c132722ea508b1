"""The commands as a program sees them: one JSON object on standard output, a message and a remedy on standard error."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from playground.actions.ask import read_weights
from playground.cli.app import app
from playground.core.values import Pool
from playground.errors import InvalidRequest
from playground.experts.base import TOOLS
from playground.experts.catalogue import load_catalogue
from playground.settings import ROOT, Settings, get_settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables from which a process reads `settings`."""
    names = ("cache_dir", "data_dir", "experts_dir", "base_model", "dtype", "threads")
    return {f"PLAYGROUND_{name.upper()}": str(getattr(settings, name)) for name in names}


Command = Callable[..., Result]


def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs a command in this process. `code` is the exit status that it must have."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def command(*words: str, code: int = 0) -> Result:
        get_settings.cache_clear()
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, result.stderr
        return result

    return command


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs a command on a fresh installation."""
    return runner(settings, monkeypatch)


@pytest.fixture
def run_tiny(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs a command with the tiny model and its experts."""
    return runner(tiny_settings, monkeypatch)


def answer(result: Result) -> dict[str, Any]:
    """Return the JSON object, which must be all that stands on standard output."""
    assert result.stdout.count("\n") == 1
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_experts_lists_what_is_installed_and_why_a_broken_one_is_not_ready(run: Command, settings: Settings) -> None:
    (settings.experts_dir / "half").mkdir()
    found = {expert["name"]: expert for expert in answer(run("experts", "--json"))["experts"]}
    assert found["base"]["kind"] == "base"
    assert found["base"]["ready"] is True
    assert found["half"]["ready"] is False
    for expert in found.values():
        assert {"name", "kind", "ready", "licence", "trained_on"} <= set(expert)
    assert f"half is not ready: {found['half']['reason']}" in run("experts").stdout


def test_a_wrong_setting_is_named_with_what_to_do(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYGROUND_PORT", "many")
    result = run("experts", "--json", code=1)
    said = answer(result)
    assert "PLAYGROUND_PORT is 'many'" in said["error"]
    assert said["remedy"]
    assert said["error"] in result.stderr
    assert said["remedy"] in result.stderr


def test_old_runs_are_pruned_when_the_host_says_how_old(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("db", "prune", "--json", code=1)
    assert "PLAYGROUND_KEEP_RUNS_DAYS" in refused.stderr
    assert answer(run("db", "prune", "--days", "30", "--trial", "--json")) == {"runs": 0, "bytes": 0, "deleted": False}
    monkeypatch.setenv("PLAYGROUND_KEEP_RUNS_DAYS", "30")
    assert answer(run("db", "prune", "--json")) == {"runs": 0, "bytes": 0, "deleted": True}


def test_db_upgrade_makes_what_db_check_looks_at(run: Command, settings: Settings) -> None:
    assert answer(run("db", "check", "--json", code=1))["ok"] is False
    first = answer(run("db", "upgrade", "--json"))
    assert first["ok"] is True
    assert answer(run("db", "upgrade", "--json")) == first
    checks = answer(run("db", "check", "--json"))
    assert checks["ok"] is True
    assert {check["name"] for check in checks["checks"]} >= {"revision", "integrity"}


def test_labels_export_writes_a_file_even_without_labels_and_refuses_other_endings(
    run: Command, tmp_path: Path
) -> None:
    out = tmp_path / "labels.csv"
    assert answer(run("labels", "export", str(out), "--json")) == {"path": str(out), "labels": 0, "warnings": []}
    assert out.read_bytes().startswith(b"\xef\xbb\xbflabel_id")
    assert ".jsonl" in answer(run("labels", "export", str(tmp_path / "labels.xls"), "--json", code=1))["remedy"]


def test_versions_lists_the_shipped_one_and_refuses_to_go_back_from_it(run: Command) -> None:
    found = answer(run("versions", "--router", "linear", "--json"))
    assert found["current"].startswith("linear-shipped-")
    assert [version["state"] for version in found["versions"]] == ["current"]
    assert "no earlier version" in answer(run("versions", "rollback", "linear", "--json", code=1))["error"]
    assert "nothing-like-it" in answer(run("versions", "promote", "nothing-like-it", "--json", code=1))["error"]


@pytest.mark.parametrize("command", [("experts", "train", "sentiment"), ("experts", "evaluate")])
def test_commands_that_need_data_say_so_before_they_load_anything(run: Command, command: tuple[str, ...]) -> None:
    said = answer(run(*command, "--data", "/nothing/here", "--json", code=1))
    assert "/nothing/here" in said["error"]


@pytest.fixture(scope="module")
def pool() -> Pool:
    return load_catalogue(Path("/nothing/here"))


def test_override_is_read_in_pool_order(pool: Pool) -> None:
    assert pool.names == ("base", *TOOLS)
    expected = {"base": 0.3, "units": 0.7}
    assert read_weights("units=0.7, base=0.3", pool) == tuple(expected.get(name, 0.0) for name in pool.names)


@pytest.mark.parametrize("text", ["units", "units=", "units=much", "nobody=1", "", "units=1,,"])
def test_an_override_that_cannot_be_read_is_refused(pool: Pool, text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_weights(text, pool)


def test_ask_answers_with_one_json_object_and_keeps_the_rest_off_standard_output(tiny_settings: Settings) -> None:
    words = ("hello there", "--router", "linear", "--max-tokens", "5", "--temperature", "0", "--layer", "1", "--json")
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PLAYGROUND_")}
    # In a process of its own, as a shell would run it: what native code prints counts too.
    done = subprocess.run(
        [sys.executable, "-m", "playground", "ask", *words],
        cwd=ROOT,
        env={**variables, **environment(tiny_settings), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said) >= {"answer", "router", "version", "expert", "weights", "explanation", "tokens", "run_id"}
    assert said["router"] == "linear"
    assert set(said["weights"]) == {"base", "alpha", "beta", *TOOLS}
    assert sum(said["weights"].values()) == pytest.approx(1, abs=1e-5)
    assert set(said["timings"]) >= {"encode_s", "decide_s", "first_token_s", "total_s"}
    assert 1 <= said["tokens"] <= 5
    assert said["layer_weights_shape"] is None


def test_ask_with_weights_of_ones_own(run_tiny: Command) -> None:
    words = ("--pool", "base,alpha,beta", "--override", "alpha=3,beta=1", "--serve", "mix", "--max-tokens", "3")
    said = answer(run_tiny("ask", "hello", *words, "--json"))
    assert said["weights"] == {"base": 0.0, "alpha": 0.75, "beta": 0.25}
    assert said["expert"] == "alpha"


@pytest.mark.parametrize("words", [("hello", "--router", "nobody"), ("  ",), ("hello", "--temperature", "-1")])
def test_ask_refuses_with_a_remedy_and_status_1(run_tiny: Command, words: tuple[str, ...]) -> None:
    result = run_tiny("ask", *words, "--json", code=1)
    assert all(answer(result).values())
    assert "Traceback" not in result.stderr


def test_ask_shows_a_person_the_answer_and_where_it_went(run_tiny: Command) -> None:
    shown = run_tiny(
        "ask", "What is 2 + 3?", "--router", "manual", "--override", "calculator=1", "--max-tokens", "30"
    ).stdout
    assert "5" in shown.splitlines()[0]
    assert "manual chose calculator" in shown


def test_routers_lists_levels_and_readiness(run_tiny: Command) -> None:
    found = {router["name"]: router for router in answer(run_tiny("routers", "--json"))["routers"]}
    assert {"manual", "knn", "linear"} <= set(found)
    for router in found.values():
        assert {"name", "title", "level", "paper", "ready", "trained_from", "figure"} <= set(router)
        assert router["ready"] or router["reason"]


@pytest.mark.parametrize("words", [("--joint",), ("--steps", "3"), ("--data", ".")])
def test_fitting_a_prompt_level_router_refuses_what_is_for_gates(run: Command, words: tuple[str, ...]) -> None:
    said = answer(run("routers", "fit", "manual", *words, "--json", code=1))
    assert words[0] in said["error"]
    assert words[0] in said["remedy"]


def test_options_of_a_fit_are_read_and_checked(run: Command, tmp_path: Path) -> None:
    assert "'much'" in answer(run("routers", "fit", "knn", "--option", "much", "--json", code=1))["error"]
    assert "k" in answer(run("routers", "fit", "knn", "--option", "k=0", "--json", code=1))["error"]
    assert "much" in answer(run("routers", "fit", "knn", "--option", "much=1", "--json", code=1))["error"]
    words = ("--option", "k=8", "--out", str(tmp_path / "knn"))
    assert answer(run("routers", "fit", "knn", *words, "--json"))["probes"] > 0
    assert json.loads((tmp_path / "knn" / "router.json").read_text())["options"]["k"] == 8
