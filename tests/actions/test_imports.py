"""Labels from a file: all or none, row by row, and never over what is here."""

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playground.actions.export import write_labels
from playground.actions.imports import import_data, import_file
from playground.actions.vote import from_store
from playground.cli.app import app
from playground.core.preferences import Verdict
from playground.errors import InvalidRequest
from playground.exchange.base import FORMATS, ExchangeFormat
from playground.exchange.records import as_records
from playground.settings import Settings
from playground.store.database import Database
from playground.store.label_views import current_labels, labelled_pairs
from tests.label_rows import label_row, side
from tests.scripted import scripted

READABLE = [name for name in FORMATS if FORMATS.get(name).can_read()]
ROWS = [
    label_row(
        number,
        prompt=f"prompt {number % 4}\nwith é 🦜",
        a=side("math", f"four {number}"),
        verdict=verdict,
        rationale="shorter",
        labeller=f"labeller-{number % 2}",
    )
    for number, verdict in enumerate(Verdict)
]


def dump(database: Database) -> list[str]:
    with sqlite3.connect(str(database.url.database)) as connection:
        return list(connection.iterdump())


def form(name: str) -> ExchangeFormat:
    return FORMATS.get(name)()


@pytest.mark.parametrize("name", READABLE)
def test_what_a_format_carries_comes_through_the_database(name: str, database: Database) -> None:
    whole = form(name)
    data = whole.write(ROWS)
    report = import_data(database, data, "labels", name)
    kept = [row for row in ROWS if whole.holds(row)]
    assert (report.added, report.existing, report.problems) == (len(kept), 0, ())
    with database.read() as session:
        found = current_labels(session, oldest_first=True)
    assert {row.source for row in found} == {"import"}
    ours = {"label_id", "comparison_id", "created_at", "source", "source_detail", "run_a", "run_b"}
    ours |= {"router_a", "router_b", "version_a", "version_b"}  # stand under names of their own
    for name_of_column in whole.carries - ours:
        column = sorted(str(record[name_of_column]) for record in as_records(found))
        assert column == sorted(str(record[name_of_column]) for record in as_records(kept)), name_of_column
    assert whole.write(found)


@pytest.mark.parametrize("name", READABLE)
def test_the_same_file_again_changes_nothing(name: str, database: Database) -> None:
    data = form(name).write(ROWS)
    first = import_data(database, data, "labels", name)
    before = dump(database)
    again = import_data(database, data, "labels", name)
    assert (again.added, again.existing) == (0, first.added)
    assert dump(database) == before


def test_an_export_of_this_database_is_here_already(database: Database, settings: Settings, tmp_path: Path) -> None:
    import_data(database, form("jsonl").write(ROWS), "labels.jsonl")
    write_labels(settings, tmp_path / "all.csv")
    report = import_file(settings, tmp_path / "all.csv")
    assert (report.added, report.existing) == (0, len(ROWS))


def test_ten_thousand_rows_with_broken_ones_are_refused_whole(database: Database) -> None:
    records = as_records([label_row(number, prompt=f"prompt {number}") for number in range(10_000)])
    records[17]["choice"] = "left"
    records[4_000]["prompt"] = ""
    records[9_999].pop("answer_b")
    lines = [json.dumps(record) for record in records]
    lines[500] = lines[500][:-9]
    import_data(database, form("jsonl").write(ROWS), "labels.jsonl")
    before = dump(database)
    report = import_data(database, "\n".join(lines).encode(), "broken.jsonl")
    assert report.is_refused
    assert (report.rows, report.added) == (10_000, 0)
    assert [line for line, _ in report.problems] == [18, 501, 4_001, 10_000]
    assert "choice" in report.problems[0][1]
    assert "not JSON" in report.problems[1][1]
    assert "prompt" in report.problems[2][1]
    assert "answer_b is missing" in report.problems[3][1]
    assert dump(database) == before
    assert report.lines()[0] == "4 of 10000 rows are wrong, so nothing was imported."
    assert report.lines()[1].startswith("Row 18: choice ")


def test_a_disk_that_refuses_in_the_middle_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last table that an import writes does not exist: everything before it is taken back."""
    with sqlite3.connect(str(database.url.database)) as connection:
        connection.execute("ALTER TABLE rationale RENAME TO elsewhere")
    before = dump(database)
    with pytest.raises(Exception, match=r"no tables yet|rationale"):
        import_data(database, form("jsonl").write(ROWS), "labels.jsonl")
    assert dump(database) == before


def test_imported_labels_are_no_human_ones_and_can_be_opened(tmp_path: Path) -> None:
    runtime = scripted(tmp_path)
    import_data(runtime.database, form("jsonl").write(ROWS[:1]), "labels.jsonl")
    with runtime.database.read() as session:
        [row] = current_labels(session)
        assert labelled_pairs(session) == []
        [pair] = labelled_pairs(session, source="import")
    assert pair.usage_a.tolist() == [0.0, 1.0]
    assert (row.a.router, row.a.version) == ("import linear", "import linear-shipped-0badf00d")
    opened = from_store(runtime, row.comparison_id, "somebody-else")
    assert {state.answer for state in opened.states} == {"four 0", "Five."}


def test_packed_files_and_wrong_ones(database: Database) -> None:
    data = form("pairs").write(ROWS)
    assert import_data(database, gzip.compress(data), "labels.pairs.jsonl.gz").added == len(ROWS)
    for broken, name in (
        (gzip.compress(data)[:-20], "labels.pairs.jsonl.gz"),
        (data, "labels.pairs.jsonl.gz"),
        (data, "labels.xls"),
        (b"", "labels.jsonl"),
        (b"prompt\n1\n", "labels.csv"),
    ):
        with pytest.raises(InvalidRequest):
            import_data(database, broken, name)


def test_the_command_names_the_rows(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cache_dir", "data_dir", "experts_dir"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(settings, name)))
    file = tmp_path / "labels.jsonl"
    file.write_bytes(form("jsonl").write(ROWS) + b"{}\n")
    refused = CliRunner().invoke(app, ["labels", "import", str(file), "--json"])
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["problems"][0]["row"] == len(ROWS) + 1
    file.write_bytes(form("jsonl").write(ROWS))
    done = CliRunner().invoke(app, ["labels", "import", str(file)])
    assert done.exit_code == 0
    assert f"{len(ROWS)} labels were imported." in done.stdout
