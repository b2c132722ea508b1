"""Every registered bench subject keeps the contract: a new one in bench/subjects gets these tests by itself."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from playground.bench.base import BENCHES, Bench
from playground.cli.app import app
from playground.errors import InvalidRequest
from playground.settings import ROOT


@pytest.fixture(params=list(BENCHES))
def subject(request: pytest.FixtureRequest) -> type[Bench]:
    return BENCHES.get(request.param)


def test_no_subject_is_broken() -> None:
    assert BENCHES.broken() == {}
    assert {"decode", "load"} <= set(BENCHES)


def test_its_options_have_defaults_and_descriptions(subject: type[Bench]) -> None:
    assert subject.title.endswith(".")
    made = subject()
    assert made == subject.of({})
    for control in subject.controls():
        assert control["description"]
    with pytest.raises(InvalidRequest):
        subject.of({"no_such_option": 1})


def test_it_has_a_command_with_a_flag_for_each_option(subject: type[Bench]) -> None:
    shown = CliRunner().invoke(app, ["bench", subject.name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0, shown.output
    assert subject.title in shown.stdout
    for name in (*subject.model_fields, "json"):
        assert f"--{name.replace('_', '-')}" in shown.stdout


def test_listing_the_subjects_imports_no_heavy_library() -> None:
    code = (
        "import sys; from playground.bench.base import BENCHES; list(BENCHES);"
        "print([m for m in ('torch', 'transformers', 'peft', 'playground.serving.runtime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
