"""TRL reads data sets through the library `datasets`; its trainers look for prompt, chosen and rejected."""

from pathlib import Path

import pytest

from playground.exchange.base import FORMATS
from tests.label_rows import label_row, side

datasets = pytest.importorskip("datasets", reason="datasets is not installed: see tests/requirements.txt")
ROWS = [label_row(1), label_row(2, prompt="Ends with a line\n", b=side("base", " spaced"))]


def load(name: str, folder: Path) -> "datasets.Dataset":
    form = FORMATS.get(name)()
    file = folder / f"labels{form.ending}"
    file.write_bytes(form.write(ROWS))
    return datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache"))


def test_the_standard_form_loads(tmp_path: Path) -> None:
    loaded = load("trl", tmp_path)
    assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)
    assert "margin" not in loaded.column_names, "the reward trainer would take it into its loss"
    assert loaded[0]["prompt"] + loaded[0]["chosen"] == "What is 2 + 2? Four."
    assert loaded[1]["prompt"] + loaded[1]["rejected"] == "Ends with a line\n spaced"


def test_the_conversational_form_loads(tmp_path: Path) -> None:
    loaded = load("trl_chat", tmp_path)
    assert loaded[0]["prompt"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert loaded[0]["chosen"] == [{"role": "assistant", "content": "Four."}]
    assert loaded[0]["rejected"] == [{"role": "assistant", "content": "Five."}]


def test_the_arena_form_loads(tmp_path: Path) -> None:
    file = tmp_path / "battles.arena.parquet"
    file.write_bytes(FORMATS.get("arena_parquet")().write(ROWS))
    loaded = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["winner"] == "model_a"
    assert loaded[0]["conversation_b"][1] == {"content": "Five.", "role": "assistant"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"chosen": "a", "rejected": "b"}', "the column prompt is missing"),
        ('{"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b"}', "trl_chat"),
        ('{"prompt": "q", "chosen": "a", "rejected": "b", "chosen_side": "left"}', "chosen_side must be a or b"),
    ],
)
def test_a_row_that_is_no_preference_is_named(row: str, problem: str) -> None:
    [found] = FORMATS.get("trl")().read(row.encode())
    assert problem in found.problem


def test_a_conversation_of_several_turns_becomes_one_prompt() -> None:
    turns = (
        '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}, {"role": "user", "content": "s"}]'
    )
    answer = '[{"role": "assistant", "content": "a"}]'
    line = f'{{"prompt": {turns}, "chosen": {answer}, "rejected": {answer}}}'
    [found] = FORMATS.get("trl_chat")().read(line.encode())
    assert found.row is not None
    assert found.row.prompt == "user: q\n\nassistant: r\n\nuser: s"
