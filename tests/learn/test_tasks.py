"""Reading rows as prompts and answers, and keeping training apart from testing."""

import gzip
import json
from pathlib import Path

import pytest

from playground.core.statistics import (
    matthews,
    matthews_interval,
    mean_interval,
    paired_interval,
    wilson_interval,
)
from playground.errors import InvalidRequest
from playground.learn.examples import balanced_rows
from playground.learn.experts.recipes import RECIPES
from playground.learn.experts.trainer import length_sorted_batches
from playground.learn.rows import read_rows, sample_rows, split_rows, without_overlap
from playground.learn.tasks import MEASURED, TASKS, clean_solution, explained, fenced, final_number, refuses


def test_a_solution_reads_as_text() -> None:
    row = {"solution": "She sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.\n#### 1,072"}
    text = clean_solution(row)
    assert text == "She sold 48/2 = 24 clips.\nIn all 48+24 = 72.\nThe answer is 1,072."
    assert final_number(text) == "1072"
    assert TASKS["gsm8k"].exact is not None
    assert TASKS["gsm8k"].exact(text, {"answer": "1,072"})


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
    train, held = split_rows(tmp_path, "sentiment_sst2", seed=0)
    assert [row["prompt"] for row in train] == ["one", "four"]
    assert [row["prompt"] for row in held] == ["TWO"]


def test_sampling_rows_does_not_depend_on_their_order() -> None:
    rows = [{"prompt": f"prompt {i}"} for i in range(50)]
    assert sample_rows(rows, 10, seed=1) == sample_rows(rows[::-1], 10, seed=1)
    assert sample_rows(rows, 10, seed=1) != sample_rows(rows, 10, seed=2)
    assert len(without_overlap(rows, rows[:5])) == 45


def test_bad_data_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no set nowhere"):
        read_rows(tmp_path, "nowhere", "test")
    assert read_rows(tmp_path, "sentiment_sst2", "test")  # the project's own, where the folder has none
    (tmp_path / "sentiment_sst2").mkdir()
    assert read_rows(tmp_path, "sentiment_sst2", "test") == []
    (tmp_path / "sentiment_sst2" / "test.jsonl.gz").write_bytes(b"\x00not gzip")
    with pytest.raises(InvalidRequest, match="not JSON lines"):
        read_rows(tmp_path, "sentiment_sst2", "test")


def test_every_recipe_names_tasks_and_fits_a_card() -> None:
    for name in RECIPES:
        recipe = RECIPES.get(name)
        assert sum(share for _, share in recipe.mix) == pytest.approx(1)
        for task, _ in recipe.mix:
            assert TASKS[task].owner == name
        assert set(recipe.measured) <= set(TASKS)
        assert len(recipe.licence) <= 100
        assert 0 <= recipe.slot <= 9
    assert {TASKS[task].owner for task in MEASURED} <= set(RECIPES)
    assert len({RECIPES.get(name).slot for name in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "harmbench"])  # the project has none
def test_the_own_rows_of_every_task_read_as_prompt_and_answer(name: str) -> None:
    task = TASKS[name]
    rows = [row for split in ("train", "test") for row in read_rows(Path("nowhere"), task.folder, split)]
    assert rows
    for row in rows:
        assert task.prompt(row).strip()
        if task.answer is not None and task.metric != "refusal":
            assert task.answer(row).strip()
        if task.choices and task.correct:
            choices = task.choices(row)
            assert sum(task.correct(row, index) for index in range(len(choices))) >= 1
            assert len(set(choices)) == len(choices)


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I can’t assist with this.", True),
        ("It is not okay to threaten people.", True),
        ("To kill a process, run kill with its number.", False),
        ("The sky is blue. " * 12 + "I cannot say more.", False),
        ("", False),
    ],
)
def test_what_counts_as_a_refusal(text: str, declines: bool) -> None:
    assert refuses(text) is declines


def test_code_and_explanations_read_as_answers() -> None:
    assert fenced("def f(x):\r\n\treturn x  \n") == "```python\ndef f(x):\n    return x\n```"
    row = {"choices": ["iron", "zinc."], "answer": "B", "explanation": "Ans. B. Zinc is a trace metal in many enzymes."}
    assert explained(row) == "The answer is zinc. Zinc is a trace metal in many enzymes."
    assert explained({**row, "explanation": None}) == "The answer is zinc."


def test_batches_are_of_like_lengths_and_use_every_row() -> None:
    lengths = [10 * (i % 7) + 5 for i in range(56)]
    batches = length_sorted_batches(lengths, batch=8, steps=7, seed=0)
    assert sorted(index for batch in batches for index in batch) == list(range(56))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert max(spread) <= 10
    assert len(length_sorted_batches(lengths, batch=8, steps=20, seed=0)) == 20


def test_balanced_rows_hold_each_answer_as_often() -> None:
    rows = [{"prompt": str(i), "answer": "ab"[i % 5 == 0]} for i in range(50)]
    answers = [row["answer"] for row in balanced_rows(rows, 0)]
    assert answers.count("a") == answers.count("b") == 40
    assert {row["prompt"] for row in balanced_rows(rows, 0)} == {row["prompt"] for row in rows}


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


def test_matthews_against_its_formula() -> None:
    truth = [True] * 6 + [False] * 4
    guess = [True] * 4 + [False] * 2 + [True] + [False] * 3
    # tp 4, fn 2, fp 1, tn 3
    expected = (4 * 3 - 1 * 2) / ((4 + 1) * (4 + 2) * (3 + 1) * (3 + 2)) ** 0.5
    assert matthews(truth, guess) == pytest.approx(expected)
    assert matthews(truth, [True] * 10) == 0
    value, low, high = matthews_interval(truth, guess)
    assert low < value < high
