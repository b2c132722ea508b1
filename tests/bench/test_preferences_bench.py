"""The planted worlds keep their bars with few seeds. Real votes are read, split and predicted by folds of prompts."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from playground.bench.subjects.preferences import peers, real
from playground.bench.subjects.preferences.predicting import Columns
from playground.bench.subjects.preferences.preferences import Preferences
from playground.bench.subjects.preferences.votes import folds, overlap, read_votes, set_files
from playground.bench.subjects.preferences.worlds import circles, crowds, planted, topics
from playground.core.values import Expert, Pool
from playground.errors import InvalidRequest
from playground.learn.labels.dataset import Probes, build
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.learn.labels.people import mixture
from playground.learn.labels.trainer import Lesson, Taught, begin_training, train
from playground.settings import Settings


def test_ninety_percent_of_the_gain_from_a_hundred_chosen_labels() -> None:
    active, uniform = topics.curve(0, active=True, flips=0.0), topics.curve(0, active=False, flips=0.0)
    assert active[100][0] >= 0.9
    assert active[100][1] > uniform[100][1]


def test_a_circle_is_seen_by_general_preferences_alone() -> None:
    found = circles.circle(0)
    assert found["accuracy, general preferences"] >= 0.88
    assert found["log loss, general preferences"] <= 0.36
    assert found["accuracy, bradley-terry"] == pytest.approx(0.5, abs=0.03)
    assert found["cyclicity"] > 0.9
    assert found["furthest from uniform, minimax"] < 0.05
    assert found["value of the game"] == pytest.approx(0.5, abs=1e-6)


def test_two_tastes_are_told_apart_and_a_new_person_is_known_by_four_votes() -> None:
    found = crowds.two_tastes(1)
    assert found["log loss, 2 tastes"] <= 0.36 < found["log loss, 1 taste"]
    assert found["accuracy for a new person after 4 votes"] >= 0.8


def test_a_mixture_never_gets_less_likely() -> None:
    rng = np.random.default_rng(0)
    features, person = rng.choice([-1.0, 1.0], (200, 1)), np.repeat(np.arange(10), 20)
    model = mixture(features, (rng.random(200) < 0.6).astype(float), person, 2)
    assert np.diff(model.log_likelihoods).min() > -0.5  # the share of a person is shrunk, so not quite by its mode
    one = mixture(features, np.ones(200), person, 1)
    assert one.scores.shape == (1, 1)


def test_random_and_inverted_voters_are_found() -> None:
    found = crowds.spammers(2)
    assert found["random over honest weight"] < 0.1
    assert found["inverted found"] == 1
    assert found["honest called inverted"] == 0
    assert abs(found["accuracy"] - found["accuracy without spam"]) < 0.01


def test_side_and_style_are_recovered() -> None:
    bias = crowds.side(2)
    assert bias["bias"] == pytest.approx(0.3, abs=0.05)
    assert bias["error of scores"] < 0.05
    assert crowds.style(2)["largest error in points, controlled"] < 10


def test_flipped_votes_are_ranked_low() -> None:
    found = topics.found_flips(0, labels=400)
    assert found["roc area"] >= 0.8
    assert found["roc area, clear pairs"] >= found["roc area"]
    assert found["accuracy, softened"] > found["accuracy, noisy"] - 0.005


def test_votes_that_age_follow_a_change_of_taste() -> None:
    found = topics.drift(1)
    assert found["half-life of a quarter"] < found["every vote alike"]


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_too_little_to_learn_from_is_said_and_ties_teach_nothing(count: int) -> None:
    """Few labels, then a dozen ties."""
    from playground.bench.subjects.finetune.growth import planted as planted_labels  # noqa: PLC0415

    router, whole = planted_labels(12, 3)
    pairs = [replace(pair, target=0.5, prompt=f"p{i}") for i, pair in enumerate(whole.labels.pairs)]
    vectors = np.eye(384, dtype=np.float32)
    labels = build(pairs[:count], lambda texts: vectors[: len(texts)])
    pool = Pool(tuple(Expert(name, "tool", name, name, name[:1], 0) for name in router.experts))
    lesson = Lesson(labels, pool, whole.descriptors, Probes((), np.zeros((0, 384), np.float32)))
    if count < 5:
        with pytest.raises(InvalidRequest, match="too few labels"):
            begin_training(router, lesson)
        return
    taught = list(train(begin_training(router, lesson), LABEL_OBJECTIVES.get("dpo")()))[-1]
    assert isinstance(taught, Taught)
    assert abs(taught.policy.parameters()[0]).max() < 1e-3
    assert np.isnan(taught.metrics["label_accuracy"].after.value)


@pytest.fixture
def votes_file(tmp_path: Path) -> Path:
    """Return a set of 120 votes on 30 prompts, in which longer answers win and model x is best."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        a, b = rng.choice(["x", "y", "z"], 2, replace=False)
        words = rng.integers(3, 30, 2)
        odds = 2 * ((a == "x") - (b == "x")) + 1.5 * np.log(words[0] / words[1])
        winner = "tie" if i % 10 == 0 else "a" if rng.random() < 1 / (1 + np.exp(-odds)) else "b"
        answers = [" ".join(f"w{i}{j}" for j in range(count)) for count in words]
        row = {"prompt": f"prompt {i % 30}", "model_a": a, "model_b": b, "winner": winner, "annotator": "p"}
        rows.append({**row, "response_a": answers[0], "response_b": answers[1]})
    path = tmp_path / "planted.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def encode(texts: list[str]) -> np.ndarray:
    rng = np.random.default_rng(len(texts))
    made = rng.normal(size=(len(texts), 16)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_prompts_are_never_on_both_sides_and_wrong_rows_are_named(votes_file: Path, tmp_path: Path) -> None:
    votes = read_votes(votes_file)
    fold = folds(votes.prompt, 0)
    assert all(len(set(fold[votes.prompt == prompt])) == 1 for prompt in set(votes.prompt))
    assert overlap(votes, votes).all()
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"prompt": "p"}\n', "utf-8")
    with pytest.raises(InvalidRequest, match="Line 1"):
        read_votes(wrong)
    with pytest.raises(InvalidRequest, match="no set"):
        set_files(tmp_path, "magic")


def test_what_is_planted_in_votes_is_found(votes_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "GROUPS", ((), ("length",)))
    monkeypatch.setattr(peers, "EPOCHS", 2)
    votes = read_votes(votes_file)
    found = real.cross_validated(votes, encode, seeds=1, every=False, tell=lambda _: None)
    methods = found["methods"]
    assert (found["rows"], found["decisive"], found["prompts"]) == (120, 108, 30)
    assert methods["ours"]["accuracy"] > methods["bradley-terry"]["accuracy"]
    assert methods["bradley-terry"]["accuracy gain"] == [0, 0, 0]
    assert {"arena style control", "routellm similarity", "routellm factorisation"} <= set(methods)


def test_held_back_votes_on_prompts_of_training_are_left_out(votes_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    with gzip.open(votes_file, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:40]
    for row in rows[:30]:
        row["prompt"] += " again"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = real.held_back(read_votes(votes_file), path, encode, every=False)
    assert found["rows with a prompt of training, left out"] == 10
    assert found["methods"]["ours"]["accuracy"] > 0.5


def test_every_objective_predicts_votes(votes_file: Path) -> None:
    columns = Columns.of(read_votes(votes_file))
    rows = np.arange(120)
    for name in LABEL_OBJECTIVES:
        odds = real.predicted(columns, rows[:90], columns, rows[90:], real.Form(("length",), 5.0, name))
        assert odds.shape == (30,)
        assert np.isfinite(odds).all()


def test_unknown_names_are_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no world"):
        planted.run(print, seeds=1, name="magic")
    with pytest.raises(InvalidRequest, match="--test needs"):
        Preferences(test=tmp_path).run(settings, print)
