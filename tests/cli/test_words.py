"""Text from a shell that is not UTF-8, and prompts that are too long: refused or noted, never an error of ours."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from playground.cli.app import app
from playground.cli.words import check_arguments
from playground.errors import InvalidRequest
from playground.settings import ROOT, Settings
from tests.cli.test_commands import environment, runner

FOREIGN = {
    "latin-1": "café, why?".encode("latin-1"),
    "utf-16 with a mark": "Why so?".encode("utf-16"),
    "utf-16 without a mark": "Why so?".encode("utf-16-le"),
    "shift-jis": "なぜ".encode("shift-jis"),
    "a picture": b"\x89PNG\r\n\x1a\n\x00\x00",
}


def started(settings: Settings, *words: str | bytes, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, as a shell runs it in a terminal of UTF-8."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PLAYGROUND_", "LC_"))}
    return subprocess.run(
        [sys.executable.encode(), b"-m", b"playground", *(w.encode() if isinstance(w, str) else w for w in words)],
        cwd=ROOT,
        env={**variables, **environment(settings), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
        input=typed,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("text", FOREIGN.values(), ids=list(FOREIGN))
def test_a_prompt_on_standard_input_that_is_not_utf_8_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    runner(settings, monkeypatch)
    done = CliRunner().invoke(app, ["ask", "-", "--json"], input=text)
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert "not UTF-8" in said["error"]
    assert "iconv" in said["remedy"]


def test_an_argument_that_is_not_utf_8_is_refused_by_every_command(settings: Settings) -> None:
    done = started(settings, "ask", "café, why?".encode("latin-1"), "--json")
    assert done.returncode == 1
    assert "not UTF-8" in json.loads(done.stdout)["error"]
    assert b"Traceback" not in done.stderr
    for words in (["docs"], ["--note", "finetune"], ["labels", "export"]):
        with pytest.raises(InvalidRequest, match="not UTF-8") as caught:
            check_arguments([*words, os.fsdecode(b"caf\xe9")])
        caught.value.message.encode("utf-8")
    check_arguments(["ask", "Żółć 水 🦜"])


@pytest.mark.parametrize("typed", ["Żółć 水 🦜", "\ufeffŻółć 水 🦜", "  Żółć 水 🦜\r\n"])
def test_text_in_utf_8_is_read_whole(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    runner(tiny_settings, monkeypatch)
    trace = tiny_settings.cache_dir / "trace.json"
    tiny_settings.cache_dir.mkdir(exist_ok=True)
    done = CliRunner().invoke(
        app, ["ask", "-", "--json", "--max-tokens", "1", "--trace", str(trace)], input=typed.encode()
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(trace.read_text("utf-8"))["events"][0]["prompt"] == "Żółć 水 🦜"
    assert "notice" not in json.loads(done.stdout)


@pytest.mark.parametrize("way", ["argument", "standard input"])
def test_a_prompt_that_is_cut_is_said(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("PLAYGROUND_MAX_PROMPT_CHARS", "100")
    runner(tiny_settings, monkeypatch)
    long = "What is 3 + 4? " * 20
    words: list[Any] = ["ask", long if way == "argument" else "-", "--max-tokens", "1"]
    typed = None if way == "argument" else long
    for flags in ([], ["--json"]):
        done = CliRunner().invoke(app, [*words, *flags], input=typed)
        assert done.exit_code == 0, done.stderr
        assert "cut to 100 characters" in done.stderr
    assert "cut to 100 characters" in json.loads(done.stdout)["notice"]
