"""Training an expert on the tiny model: it learns, goes on where it was killed, and never from another training."""

import contextlib
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from playground.learn.examples import with_replies
from playground.learn.experts.recipes import RECIPES
from playground.learn.experts.trainer import TrainingProgress, train
from playground.learn.tasks import TASKS
from playground.model.base import load_base

SHORT = replace(RECIPES.get("sentiment"), steps=45, batch=4, rate=1e-2)


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RECIPES, "get", lambda name: SHORT)


def trained(folder: Path, data: Path, out: str, *, kept: str, killed_at: int = 0) -> list[TrainingProgress]:
    """Return the steps that a training makes over the tiny model in `folder`."""
    seen: list[TrainingProgress] = []

    def progress(made: TrainingProgress) -> None:
        if made.step == killed_at:
            raise Killed
        seen.append(made)

    base = load_base(str(folder), torch.float32)
    with contextlib.suppress(Killed):
        train("sentiment", base, data=data, out=data.parent / out, checkpoints=data.parent / kept, progress=progress)
    return seen


def adapter(data: Path, out: str) -> dict[str, torch.Tensor]:
    return load_file(data.parent / out / "sentiment" / "adapter_model.safetensors")


def test_a_killed_training_goes_on_where_it_was(tiny_model_folder: Path, data: Path) -> None:
    whole = trained(tiny_model_folder, data, "whole", kept="a")
    assert [made.step for made in whole] == list(range(1, 46))
    assert whole[-1].loss < whole[0].loss
    trained(tiny_model_folder, data, "cut", kept="b", killed_at=27)
    assert not (data.parent / "cut").exists()
    again = trained(tiny_model_folder, data, "cut", kept="b")
    assert [made.step for made in again] == list(range(21, 46))
    expected, found = adapter(data, "whole"), adapter(data, "cut")
    assert set(expected) == set(found)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-3, rtol=0)


def test_other_rows_and_an_ended_training_begin_afresh(tiny_model_folder: Path, data: Path) -> None:
    trained(tiny_model_folder, data, "out", kept="kept", killed_at=27)
    path = data / TASKS["sst2"].folder / "train.jsonl.gz"
    rows = [{"prompt": f"other {i}", "answer": ("positive", "negative")[i % 2]} for i in range(30)]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert trained(tiny_model_folder, data, "out", kept="kept")[0].step == 1
    assert trained(tiny_model_folder, data, "out", kept="kept")[0].step == 1


def test_replies_are_those_of_this_model_to_these_prompts(tiny_model_folder: Path, tmp_path: Path) -> None:
    base = load_base(str(tiny_model_folder), torch.float32)
    task, kept = TASKS["benign"], tmp_path / "replies.json"
    first = with_replies(base, task, [{"id": "1", "prompt": "hello"}], kept)
    stored = kept.read_text()
    assert with_replies(base, task, [{"id": "1", "prompt": "hello"}], kept) == first
    assert kept.read_text() == stored
    other = with_replies(base, task, [{"id": "1", "prompt": "something else"}], kept)
    assert other[0]["prompt"] == "something else"
    assert kept.read_text() != stored
