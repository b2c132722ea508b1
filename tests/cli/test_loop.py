"""The whole loop on the command line: labels that stand, a fine-tune, a draft, in force, and back; and the export."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from ulid import ULID

from playground.cli.app import app
from playground.core.events import Decided, Event, Finished, RunStarted
from playground.core.preferences import Verdict
from playground.core.values import Sampling, Text
from playground.settings import Settings, get_settings
from playground.store.database import Database
from playground.store.labels import create_comparison, vote
from playground.store.people import labeller
from playground.store.runs import save_run
from playground.store.tables import TrainingRunRow
from playground.store.trainings import start_training

POOL = ("base", "calculator", "units")
THINGS = ("rivers", "castles", "trains", "violins", "bridges", "comets", "spices", "gardens", "lighthouses", "glaciers")
PROMPTS = [f"Tell me a story about {thing}." for thing in THINGS]


def finished_run(prompt: str, expert: str) -> list[Event]:
    """Return the events of a run that `expert` answered."""
    run, weights = str(ULID()), np.eye(len(POOL), dtype=np.float32)[POOL.index(expert)]
    return [
        RunStarted(prompt, "manual", "manual-test", "prompt", POOL, 0, 2, 4, run_id=run, seq=0, at=0.0),
        Decided(weights, weights, "override", Text("By hand."), run_id=run, seq=1, at=0.0),
        Finished(f"{expert} says so.", weights, 3, 5, {"total_s": 0.1}, "stop", run_id=run, seq=2, at=0.1),
    ]


@pytest.fixture
def labelled(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a database with a label on every story: the unit converter's answer is much better than the base's."""
    for name in ("cache_dir", "data_dir", "experts_dir"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(settings, name)))
    for prompt in PROMPTS:
        with database.write() as session:
            runs = []
            for expert in ("units", "base"):
                events = finished_run(prompt, expert)
                save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
                runs.append(events[0].run_id)
            comparison = create_comparison(session, *runs, selection="manual", pair_propensity=None, left_run=runs[0])
            vote(session, comparison, Verdict.A_MUCH, labeller_id=labeller(session, "me"), client_token=str(ULID()))
    return settings


def run(*words: str, code: int = 0) -> dict[str, object]:
    get_settings.cache_clear()
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.stderr
    value: dict[str, object] = json.loads(result.stdout)
    return value


def test_labels_make_a_draft_that_can_be_put_in_force_and_taken_back(labelled: Settings) -> None:
    shipped = run("versions", "--router", "linear")["current"]
    made = run("finetune", "--router", "linear", "--objective", "dpo", "--note", "stories")
    assert made["parent"] == shipped
    assert made["labels"] == {"given": 10, "left out": 0, "train": 7, "valid": 1, "test": 2}
    held_out = made["metrics"]["label_accuracy"]  # type: ignore[index]
    assert (held_out["before"]["value"], held_out["after"]["value"]) == (0.5, 1.0)
    listed = run("versions", "--router", "linear")
    assert listed["current"] == shipped, "a fine-tune promotes nothing"
    assert [version["state"] for version in listed["versions"]] == ["draft", "current"]  # type: ignore[attr-defined]
    run("versions", "promote", str(made["version"]), "--reason", "tried it")
    assert run("versions", "--router", "linear")["current"] == made["version"]
    assert run("versions", "rollback", "linear") == {"router": "linear", "current": shipped}


def test_a_fine_tune_is_looked_at_cancelled_and_resumed(labelled: Settings, database: Database) -> None:
    assert run("finetune", "status") == {"router": "linear", "job": None}
    assert "not being taught" in str(run("finetune", "cancel", code=1)["error"])
    assert "was stopped" in str(run("finetune", "resume", code=1)["error"])
    shipped = str(run("versions")["current"])
    row = TrainingRunRow(router="linear", parent_version=shipped, method="bt", config={"options": {"cap": 0.4}})
    with database.write() as session:
        start_training(session, row)
    assert run("finetune", "status")["job"]["state"] == "running"  # type: ignore[index]
    assert "already" in str(run("finetune", code=1)["error"])
    assert run("finetune", "cancel")["job"]["state"] == "cancelled"  # type: ignore[index]
    made = run("finetune", "resume")
    told = run("finetune", "status")["job"]
    assert (told["state"], told["objective"], told["version"]) == ("done", "bt", made["version"])  # type: ignore[index]
    assert run("versions")["versions"][0]["config"]["options"]["cap"] == 0.4  # type: ignore[index]
    assert run("versions", "shadow", str(made["version"]))["shadow"] == made["version"]
    assert run("versions", "shadow", "off")["shadow"] is None


def test_beta_reaches_the_objective_and_a_bad_one_is_refused(labelled: Settings) -> None:
    assert "beta" in str(run("finetune", "--beta", "-1", code=1)["error"])
    assert "nobody" in str(run("finetune", "--router", "nobody", code=1)["error"])
    assert "nothing" in str(run("finetune", "--objective", "nothing", code=1)["error"])
    assert "gamma" in str(run("finetune", "--option", "gamma=1", code=1)["error"])


def test_options_reach_the_objective_and_the_result_says_the_strength(labelled: Settings) -> None:
    made = run("finetune", "--option", "beta=0.4", "--option", "cap=10")
    assert made["beta"] == pytest.approx(0.4)
    listed = run("versions", "--router", "linear")["versions"][0]  # type: ignore[index]
    assert listed["config"]["options"] == {"beta": 0.4, "ridge": 0.1, "cap": 10.0}


@pytest.mark.parametrize(("router", "remedy"), [("manual", "linear"), ("mogu", "routers fit mogu")])
def test_a_router_that_does_not_learn_from_labels_says_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, router: str, remedy: str
) -> None:
    for name in ("cache_dir", "data_dir", "experts_dir"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(settings, name)))
    said = run("finetune", "--router", router, code=1)
    assert "does not learn from labels" in str(said["error"])
    assert remedy in str(said["remedy"])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_every_label_is_in_the_export(labelled: Settings, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"labels.{ending}"
    assert run("labels", "export", str(out))["labels"] == len(PROMPTS)
    text = out.read_text("utf-8")
    lines = text.removeprefix("\ufeff").splitlines()
    rows = list(csv.DictReader(lines)) if ending == "csv" else [json.loads(line) for line in lines]
    assert {row["prompt"] for row in rows} == set(PROMPTS)
