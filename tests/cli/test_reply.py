"""The answer of a command: alone on standard output, and valid JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer

from playground.cli.reply import replying, to_json
from playground.errors import PlaygroundError


def test_what_a_library_prints_does_not_reach_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with replying(True) as reply:
        print("Loading weights: 100%")
        reply.say("for a person")
        reply.value = {"answer": 42}
    seen = capsys.readouterr()
    assert json.loads(seen.out) == {"answer": 42}
    assert seen.err == "Loading weights: 100%\n"


def test_a_person_gets_text_and_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    with replying(False) as reply:
        reply.table([{"name": "knn", "level": "prompt"}, {"name": "lora_mixer", "level": "gate"}])
        reply.value = {"answer": 42}
    assert capsys.readouterr().out == "name        level\nknn         prompt\nlora_mixer  gate\n"


def test_an_error_ends_with_status_1_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, replying(True):
        raise PlaygroundError("It broke.", "Mend it.")
    assert caught.value.exit_code == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out) == {"error": "It broke.", "remedy": "Mend it."}
    assert seen.err == "It broke.\nMend it.\n"


def test_a_failed_check_prints_its_object_and_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, replying(True) as reply:
        reply.value, reply.failed = {"ok": False}, True
    assert caught.value.exit_code == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False}


def test_numbers_of_numpy_and_what_json_lacks() -> None:
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": float("nan"), "d": (1, Path("x")), "é": np.bool_(True)}
    assert json.loads(to_json(value)) == {"a": 0.5, "b": [0, 1, 2], "c": None, "d": [1, "x"], "é": True}
    with pytest.raises(TypeError):
        to_json({"a": object()})
