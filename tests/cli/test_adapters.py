"""`experts check`, `add` and `remove` on the tiny model, as a program sees them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playground.cli.app import app
from playground.settings import Settings, get_settings
from tests.tiny import write_tiny_expert


def test_an_adapter_is_checked_added_listed_and_removed(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("cache_dir", "data_dir", "experts_dir", "base_model", "dtype", "threads"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(tiny_settings, name)))

    def command(*words: str, code: int = 0) -> dict[str, Any]:
        get_settings.cache_clear()
        result = CliRunner().invoke(app, ["experts", *words, "--json"])
        assert result.exit_code == code, result.stderr
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    folder = write_tiny_expert(tmp_path / "mine", "poems", 6, seed=7)
    looked = command("check", str(folder))
    assert looked["ok"]
    titles = [line["title"] for line in looked["lines"]]
    expected = ["Files", "Configuration", "Kind", "Base model", "Size", "Tensors", "Target modules", "Shapes"]
    assert titles == [*expected, "Rank and scale", "Trial", "Name"]
    added = command("add", str(folder), "--name", "sea", "--title", "Sea", "--example", "A wave", "--licence", "CC0")
    assert (added["added"]["name"], added["added"]["examples"]) == ("sea", ["A wave"])
    listed = {expert["name"]: expert for expert in command()["experts"]}
    assert (listed["sea"]["is_added"], listed["sea"]["licence"]) == (True, "CC0")
    assert "taken" in command("add", str(folder), "--name", "sea", code=1)["error"]
    assert command("remove", "sea") == {"removed": "sea"}
    assert "came with" in command("remove", "alpha", code=1)["error"]
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    refused = command("check", str(folder), code=1)
    assert "pickle" in refused["lines"][-1]["detail"]
    assert list((tiny_settings.data_dir / "experts").iterdir()) == []
