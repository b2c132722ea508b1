"""Reading rows as prompts and answers, and keeping training apart from testing."""

import gzip
import json
from pathlib import Path

import pytest

from playground.core.statistics import mean_interval, paired_interval, wilson_interval
from playground.errors import InvalidRequest
from playground.learn.expert_trainer import validation_rows
from playground.learn.recipes import RECIPES
from playground.learn.tasks import TASKS, clean_solution, final_number, read_rows, sample_rows, without_overlap


def test_a_solution_reads_as_text() -> None:
    row = {"solution": "She sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.\n#### 1,072"}
    text = clean_solution(row)
    assert text == "She sold 48/2 = 24 clips.\nIn all 48+24 = 72.\nThe answer is 1,072."
    assert final_number(text) == "1072"
    assert TASKS["math"].exact is not None
    assert TASKS["math"].exact(text, {"answer": "1,072"})


@pytest.mark.parametrize(
    ("text", "number"), [("so 12 and 7.5", "7.5"), ("The answer is $-3.", "-3"), ("none", None), ("", None)]
)
def test_the_final_number(text: str, number: str | None) -> None:
    assert final_number(text) == number


def test_no_training_prompt_is_in_validation_or_test(tmp_path: Path) -> None:
    folder = tmp_path / "sentiment_sst2"
    folder.mkdir()
    splits = {
        "train": ["one", "Two  ", "three", "four"],
        "validation": ["TWO", "five"],
        "test": ["three", "five"],
    }
    for split, prompts in splits.items():
        with gzip.open(folder / f"{split}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"prompt": prompt, "answer": "positive"}) + "\n" for prompt in prompts)
    train, held = validation_rows(tmp_path, TASKS["sentiment"], seed=0)
    assert [row["prompt"] for row in train] == ["one", "four"]
    assert [row["prompt"] for row in held] == ["TWO"]


def test_sampling_rows_does_not_depend_on_their_order() -> None:
    rows = [{"prompt": f"prompt {i}"} for i in range(50)]
    assert sample_rows(rows, 10, seed=1) == sample_rows(rows[::-1], 10, seed=1)
    assert sample_rows(rows, 10, seed=1) != sample_rows(rows, 10, seed=2)
    assert len(without_overlap(rows, rows[:5])) == 45


def test_bad_data_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no set sentiment_sst2"):
        read_rows(tmp_path, "sentiment_sst2", "test")
    (tmp_path / "sentiment_sst2").mkdir()
    assert read_rows(tmp_path, "sentiment_sst2", "test") == []
    (tmp_path / "sentiment_sst2" / "test.jsonl.gz").write_bytes(b"\x00not gzip")
    with pytest.raises(InvalidRequest, match="not JSON lines"):
        read_rows(tmp_path, "sentiment_sst2", "test")


def test_every_recipe_names_a_task_and_fits_a_card() -> None:
    for name in RECIPES:
        recipe = RECIPES.get(name)
        assert recipe.task in TASKS
        assert len(recipe.licence) <= 100
        assert 0 <= recipe.slot <= 9


def test_intervals_against_known_values() -> None:
    low, high = wilson_interval(8, 10)  # Wilson's score interval of 8/10, from the textbook formula
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    mean, low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert high - mean == pytest.approx(1.96 * 1.2909944 / 2, abs=1e-6)
    mean, low, high = paired_interval([1.0] * 20)
    assert (mean, low, high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
