"""Settings: the framework's own variables count too, ours win, and a wrong one is named in two lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from playground.errors import InvalidRequest
from playground.settings import ROOT, Settings, get_settings
from playground.store.database import Database
from playground.ui.page import launch_options
from tests.scripted import scripted

FRAMEWORK = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7999", "GRADIO_ROOT_PATH": "/lab"}


def test_the_frameworks_variables_are_honoured(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for name, value in FRAMEWORK.items():
        monkeypatch.setenv(name, value)
    found = Settings(_env_file=None)
    assert (found.host, found.port, found.root_path) == ("0.0.0.0", 7999, "/lab")
    for name, value in (("HOST", "127.0.0.2"), ("PORT", "7998"), ("ROOT_PATH", "/ours")):
        monkeypatch.setenv(f"PLAYGROUND_{name}", value)
    found = Settings(_env_file=None)
    assert (found.host, found.port, found.root_path) == ("127.0.0.2", 7998, "/ours")


def test_the_page_is_served_below_the_root_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/lab")
    made = scripted(tmp_path)
    assert launch_options(made)["root_path"] == "/lab"  # type: ignore[arg-type]  # the same face as a runtime
    made.close()


@pytest.mark.parametrize("name", ["PLAYGROUND_PORT", "GRADIO_SERVER_PORT"])
def test_a_wrong_port_is_named_as_it_was_set(monkeypatch: pytest.MonkeyPatch, settings: Settings, name: str) -> None:
    monkeypatch.setenv(name, "many")
    with pytest.raises(InvalidRequest, match=f"{name} is 'many'"):
        get_settings()


def test_labels_are_open_locally_closed_on_a_space_and_the_hosts_choice(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    assert Settings(_env_file=None).shows_labels
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    assert not Settings(_env_file=None).shows_labels
    monkeypatch.setenv("PLAYGROUND_PUBLIC_LABELS", "true")
    assert Settings(_env_file=None).shows_labels
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.setenv("PLAYGROUND_PUBLIC_LABELS", "false")
    assert not Settings(_env_file=None).shows_labels


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("", "playground.sqlite3"),
        ("sqlite:////elsewhere/x.db", "/elsewhere/x.db"),
        ("sqlite:///x.db?timeout=3", "x.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:x.db?mode=ro&uri=true", None),
        ("postgresql://me@host/name", None),
    ],
)
def test_the_file_of_the_database_is_known(settings: Settings, address: str, file: str | None) -> None:
    found = settings.model_copy(update={"database_url": address}).sqlite_file
    assert found == (None if file is None else settings.data_dir / file if not address else Path(file))


WORDS = {"app.py": ["app.py"], "serve": ["-m", "playground", "serve"]}


@pytest.mark.parametrize("way", WORDS)
@pytest.mark.parametrize("trouble", ["setting", "newer tables"])
def test_a_start_that_fails_says_it_in_two_lines(tmp_path: Path, way: str, trouble: str) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PLAYGROUND_")}
    variables |= {"PLAYGROUND_DATA_DIR": str(tmp_path), "PLAYGROUND_PORT": "many" if trouble == "setting" else "0"}
    if trouble == "newer tables":
        made = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}")
        made.upgrade()
        with made.write() as session:
            session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
        made.close()
    done = subprocess.run(
        [sys.executable, *WORDS[way]], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    what, remedy = done.stderr.strip().splitlines()
    assert ("PLAYGROUND_PORT is 'many'" if trouble == "setting" else "at revision 0099") in what
    assert remedy
