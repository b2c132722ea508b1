"""Boards of stored labels: kept until a label comes or goes, totals only, and told in sentences."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playground.actions import boards
from playground.actions.imports import import_data
from playground.cli.app import app
from playground.core.preferences import Verdict
from playground.core.records import LabelRow, aligned
from playground.errors import InvalidRequest
from playground.exchange.base import FORMATS
from playground.learn.understanding.board import MIN_VOTES
from playground.settings import Settings, get_settings
from playground.store.database import Database
from tests.label_rows import label_row, side

PROMPT = "what nobody may read on a board"
VERDICTS = (Verdict.A, Verdict.A_MUCH, Verdict.TIE, Verdict.B, Verdict.SKIP)


def rows(count: int) -> list[LabelRow]:
    return [
        label_row(
            i,
            prompt=f"{PROMPT} {i}",
            verdict=VERDICTS[i % 5],
            comparison_id=f"c{i // 2}",
            labeller=f"somebody-{i % 2}",
        )
        for i in range(count)
    ]


@pytest.fixture
def labelled(database: Database) -> Database:
    import_data(database, FORMATS.get("jsonl")().write(rows(60)), "labels.jsonl")
    return database


def test_a_board_holds_totals_and_no_text(labelled: Database) -> None:
    found = boards.board(labelled, "expert", "import")
    assert boards.is_board(found)
    told = json.dumps(boards.board_json(found)) + boards.board_csv(found) + " ".join(boards.remarks(found))
    assert PROMPT not in told
    assert "somebody" not in told
    assert {row["name"] for row in boards.standings_table(found)} == {"math", "base"}
    read = list(csv.DictReader(io.StringIO(boards.board_csv(found).removeprefix("\ufeff"))))
    assert [row["name"] for row in read] == ["math", "base"]
    assert "12 labels do not count: skipped 12." in boards.remarks(found)


def test_it_is_kept_until_a_label_comes(labelled: Database) -> None:
    first = boards.board(labelled, "expert", "import")
    assert boards.board(labelled, "expert", "import") is first
    import_data(labelled, FORMATS.get("jsonl")().write([label_row(99, prompt="one more")]), "more.jsonl")
    assert boards.board(labelled, "expert", "import") is not first


def test_labels_of_other_sources_make_no_board_of_people(labelled: Database) -> None:
    found = boards.board(labelled, "expert", "human")
    assert not boards.is_board(found)
    assert boards.remarks(found) == ["There are 0 votes that count, and a board needs 10."]
    assert boards.MIN_VOTES == MIN_VOTES


@pytest.mark.parametrize(("entity", "source"), [("person", "human"), ("expert", "nobody"), ("", "")])
def test_unknown_names_are_refused(labelled: Database, entity: str, source: str) -> None:
    with pytest.raises(InvalidRequest):
        boards.board(labelled, entity, source)


def test_answers_in_both_orders_are_one_comparison() -> None:
    turned = label_row(2, comparison_id="c", a=side("base", "Five."), b=side("math", "Four."), verdict=Verdict.B_MUCH)
    first, second = aligned([label_row(1, comparison_id="c"), turned])
    assert (second.a.expert, second.verdict, second.left) == ("math", Verdict.A_MUCH, "a")
    assert first.shown_sides == (first.b, first.a)
    assert second.shown_sides[0].expert == turned.shown_sides[0].expert
    other = label_row(3, comparison_id="c", a=side("base", "Six."))
    assert aligned([first, other])[1] is other


def test_the_commands_tell_and_write(
    labelled: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cache_dir", "data_dir", "experts_dir"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(settings, name)))
    get_settings.cache_clear()
    out = tmp_path / "board.csv"
    shown = CliRunner().invoke(app, ["labels", "board", "expert", "--source", "import", "--csv", str(out)])
    assert shown.exit_code == 0, shown.stderr
    assert "math" in shown.stdout
    assert out.read_text("utf-8").startswith("\ufeffrank,name,rating")
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(FORMATS.get("pairs")().write(rows(60)))
    told = CliRunner().invoke(app, ["labels", "agreement", "--file", str(file), "--format", "pairs", "--json"])
    value = json.loads(told.stdout)
    assert value["agreement"]["people"] == 2
    assert len(value["readers"]) == 2
