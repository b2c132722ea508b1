"""The push to the Hub: files and card; the network is somebody else's."""

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from playground.actions.imports import import_data
from playground.actions.publish import HubRefused, dataset_files, publish, push, refusal
from playground.core.preferences import Verdict
from playground.errors import InvalidRequest
from playground.settings import Settings
from playground.store.database import Database
from tests.label_rows import label_row

SECRET = "what only I typed"


def test_the_card_counts_and_names_no_text() -> None:
    rows = [label_row(1, prompt=SECRET), label_row(2, verdict=Verdict.TIE, prompt=SECRET)]
    files = dataset_files(rows, title="my-labels", licence="cc-by-4.0")
    card = files["README.md"].decode()
    assert card.startswith("---\npretty_name: 'my-labels'\nlicense: cc-by-4.0\nsize_categories:\n- n<1K\n")
    assert "2 preference labels of 1 labellers on 1 prompts, from 2025-01-02 to 2025-01-02." in card
    assert "| Tie | 1 |" in card
    assert SECRET not in card
    assert all(file in files for file in ("preferences.trlchat.jsonl", "battles.arena.json", "labels.jsonl"))
    assert all(f"data_files: {name}" in card for name in files if name != "README.md")
    assert len(files["preferences.trlchat.jsonl"].splitlines()) == 1


def test_the_hub_loads_each_configuration_of_the_card(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: see tests/requirements.txt")
    for name, content in dataset_files([label_row(1), label_row(2)], title="t", licence="mit").items():
        (tmp_path / name).write_bytes(content)
    for config in ("default", "battles", "native"):
        loaded = datasets.load_dataset(str(tmp_path), config, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == 2


def test_only_peoples_labels_are_pushed_and_mistakes_are_told(settings: Settings, database: Database) -> None:
    with pytest.raises(InvalidRequest, match="no name of a data set"):
        publish(settings, "labels", "mit")
    with pytest.raises(InvalidRequest, match="no licence"):
        publish(settings, "me/labels", "as you like")
    import_data(
        database, json.dumps({"prompt": "q", "answer_a": "", "answer_b": "", "choice": "a"}).encode(), "x.jsonl"
    )
    with pytest.raises(InvalidRequest, match="no labels to push"):
        publish(settings, "me/labels", "mit", upload=_never)


def _never(repo: str, files: Mapping[str, bytes], is_public: bool) -> str:
    raise AssertionError("nothing may be uploaded")


def test_without_a_network_the_push_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, request: object, **rest: object) -> None:
        raise httpx.ConnectError("no network")

    monkeypatch.setattr(httpx.Client, "send", unreachable)
    with pytest.raises(HubRefused, match="could not be reached"):
        push("me/labels", {"README.md": b"x"}, False)
    assert "Log in" in refusal("me/labels", 401).remedy
    assert "500" in refusal("me/labels", 500).message
