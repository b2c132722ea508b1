"""A filled database of the first release, taken to the newest tables and back: SQLite, and PostgreSQL where set."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import SQLModel

from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import StorageError
from playground.store import triggers
from playground.store.collecting import begin_sitting, give_consent, judge_aspects
from playground.store.database import Database, newest_revision
from playground.store.label_views import current_labels, labelled_pairs
from playground.store.labels import add_rationale, create_comparison, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events, load_run, recent_runs, save_run
from playground.store.tables import RouterVersionRow, SecretRow, TrainingRunRow, VersionFileRow
from playground.store.trainings import LabelUse, add_training_labels, end_training, start_training
from playground.store.versions import add_evaluation, add_promotion, add_version, versions_of
from tests.store.conftest import MakeRun

SHIPPED, TRAINED = "linear-shipped-0badf00d", "linear-trained"
# What the first release wrote into the columns that it had and the tables of today do not have.
OLD: dict[str, dict[str, Any]] = {
    "label": {"ui_version": ""},
    "labeller": {"disabled_at": None},
    "prompt": {"system": None},
    "run": {"template_hash": ""},
    "trace": {"layers": 30, "tokens": 3, "events": 6},
    "router_version": {"created_by": None},
}
NEW = ("consent", "label_aspect", "secret", "sitting", "version_file")  # tables that the first release did not have
NEW_COLUMNS = {"comparison": ("judged",)}  # null in its rows


@pytest.fixture
def filled(database: Database, make_run: MakeRun) -> Database:
    """Return the newest database, with rows in every table."""
    runs = [make_run(expert=expert, tokens=tokens) for expert, tokens in (("math", 3), ("base", 400))]
    with database.write() as session:
        for events in runs:
            save_run(session, events, prompt="2 + 2?", sampling=Sampling(seed=7), base_model="tiny", session_id="v")
        me = labeller(session, "cookie")
        first, second = (events[0].run_id for events in runs)
        pairs = [
            create_comparison(session, first, second, selection="uniform", pair_propensity=0.1, left_run=left)
            for left in (first, second)
        ]
        label = vote(session, pairs[0], Verdict.A, labeller_id=me, client_token="t1", lead_ms=900)
        add_rationale(session, label, "It is right.", ["correct"])
        judge_aspects(session, label, {"helpful": 2})
        give_consent(session, me, licence="CC-BY-4.0", terms="t" * 64)
        begin_sitting(session, me, goal=30)
    with database.write() as session:
        vote(session, pairs[1], Verdict.of("tie", None), labeller_id=me, client_token="t2")
        changed = vote(session, pairs[1], Verdict.of("b", 3), labeller_id=me, client_token="t3")
        undo(session, changed, labeller_id=me, client_token="t4")
    with database.write() as session:
        job = start_training(session, TrainingRunRow(router="linear", parent_version=SHIPPED, method="bt"))
        add_training_labels(session, job, [LabelUse(label, "train", 1.0, 0.9)])
        add_version(
            session,
            RouterVersionRow(id=TRAINED, router="linear", level="prompt", parent_id=SHIPPED, training_run_id=job),
        )
        end_training(session, job, status="done", version=TRAINED)
        add_evaluation(session, TRAINED, against=SHIPPED, set_name="held", set_hash="h", metrics={"loss": [0.5]})
        add_promotion(session, "linear", TRAINED, action="promote", from_version=SHIPPED, by=me, reason="better")
        session.add(SecretRow(name="labellers", value=b"k" * 32))
        session.add(VersionFileRow(version_id=TRAINED, name="router.json", content=b"{}"))
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def first_release(request: pytest.FixtureRequest, tmp_path: Path, filled: Database) -> Iterator[Database]:
    """Return a database made by the first migration, with the rows of `filled`."""
    address = f"sqlite:///{tmp_path / 'first.sqlite3'}"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres")
    made = Database(address, data_dir=tmp_path)
    made.upgrade("0001")
    with made.write() as session:
        for name, values in rows(filled, without=NEW).items():
            old = OLD.get(name, {})
            fresh = NEW_COLUMNS.get(name, ())
            columns = [sa.column(c.name, c.type) for c in SQLModel.metadata.tables[name].columns if c.name not in fresh]
            table = sa.table(name, *columns, *(sa.column(column) for column in old))
            kept = [{key: value for key, value in (row | old).items() if key not in fresh} for row in values]
            session.connection().execute(sa.insert(table), kept)
    yield made
    made.downgrade("base")
    made.close()


def rows(database: Database, *, without: tuple[str, ...] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, in an order in which they can be inserted."""
    with database.read() as session:
        connection = session.connection()
        found = {
            table.name: [
                dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in SQLModel.metadata.sorted_tables
            if table.name not in without
        }
    assert all(found.values()), "a table without a row proves nothing"
    return found


def form(database: Database) -> dict[str, Any]:
    """Return what the tables are, without the order of columns: names, types, keys, checks and indexes."""
    found: dict[str, Any] = {}
    with database.read() as session:
        look = sa.inspect(session.connection())
        for table in look.get_table_names():
            keys = [(k["name"], k["constrained_columns"], k["referred_table"]) for k in look.get_foreign_keys(table)]
            found[table] = {
                "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)),
                "primary": look.get_pk_constraint(table),
                "foreign": sorted(keys, key=str),
                "unique": sorted(look.get_unique_constraints(table), key=str),
                "checks": sorted((str(c["name"]), str(c["sqltext"])) for c in look.get_check_constraints(table)),
                "indexes": sorted(
                    ((i["name"], i["column_names"], i["unique"]) for i in look.get_indexes(table)), key=str
                ),
            }
    return found


def said(database: Database) -> list[list[str]]:
    """Return what the program reads of labels, runs and versions. Databases keep JSON in another order."""
    with database.read() as session:
        runs = [run.id for run in recent_runs(session)]
        return [
            [repr(replace(label, aspects={})) for label in current_labels(session)],
            [repr(pair) for pair in labelled_pairs(session)],
            [repr(replace(load_run(session, run), timings={})) for run in runs],
            [repr(load_events(session, run)) for run in runs],
            [repr(version) for version in versions_of(session, "linear", current=TRAINED)],
        ]


def test_a_filled_database_of_the_first_release_opens_whole(first_release: Database, filled: Database) -> None:
    first_release.upgrade()
    assert rows(first_release, without=NEW) == rows(filled, without=NEW)
    assert said(first_release) == said(filled)
    assert [check for check in first_release.check() if not check.ok] == []
    if first_release.is_sqlite:
        assert form(first_release) == form(filled)


def test_rows_stay_guarded_after_the_migration(first_release: Database, filled: Database) -> None:
    first_release.upgrade()
    for table in [rule.table for rule in triggers.PROTECTED]:
        database = filled if table in NEW else first_release  # without a row, nothing is refused
        with pytest.raises((sa.exc.DBAPIError, StorageError), match="never"), database.write() as session:
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    with pytest.raises((sa.exc.DBAPIError, StorageError), match="never"), first_release.write() as session:
        session.connection().exec_driver_sql("UPDATE run SET text = 'x'")
    with pytest.raises(sa.exc.IntegrityError), first_release.write() as session:
        session.add(RouterVersionRow(id="orphan", router="linear", level="prompt", parent_id="nowhere"))
    with pytest.raises(sa.exc.IntegrityError), first_release.write() as session:
        session.add(RouterVersionRow(id="odd", router="linear", level="nonsense"))


def test_the_first_tables_can_be_had_again(first_release: Database, filled: Database) -> None:
    before = form(first_release)
    first_release.upgrade()
    first_release.downgrade("0001")
    assert form(first_release) == before
    first_release.upgrade()
    assert rows(first_release, without=NEW) == rows(filled, without=NEW)
    assert said(first_release) == said(filled)


def test_a_migration_that_would_lose_a_reference_changes_nothing(tmp_path: Path, filled: Database) -> None:
    filled.downgrade("0001")
    with filled.write() as session:
        triggers.drop(session.connection())
    with filled._migrating() as connection:
        connection.exec_driver_sql("DELETE FROM router_version WHERE id = 'linear-trained'")
    with pytest.raises(StorageError, match="was not changed"):
        filled.upgrade()
    with filled.read() as session:
        assert session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0001"
        assert session.connection().exec_driver_sql("SELECT count(*) FROM label").scalar() == 4
        assert session.connection().exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert newest_revision() != "0001"


def test_a_filled_database_of_the_release_before_opens_whole(filled: Database) -> None:
    before, whole = rows(filled), said(filled)
    filled.downgrade("0002")
    assert not set(NEW) & set(form(filled))
    filled.upgrade()
    assert rows(filled, without=NEW) == {name: found for name, found in before.items() if name not in NEW}
    assert said(filled) == whole


def test_a_pair_drawn_near_a_tie_outlives_the_way_down(filled: Database, make_run: MakeRun) -> None:
    events = [make_run(expert=expert, tokens=3) for expert in ("math", "base")]
    with filled.write() as session:
        for each in events:
            save_run(session, each, prompt="3 + 3?", sampling=Sampling(seed=7), base_model="tiny", session_id="v")
        runs = [each[0].run_id for each in events]
        made = create_comparison(
            session, *runs, selection="near_tie", pair_propensity=0.5, left_run=runs[0], judged="router"
        )
    filled.downgrade("0003")
    filled.upgrade()
    with filled.read() as session:
        asked = sa.text("SELECT selection, judged FROM comparison WHERE id = :made")
        assert tuple(session.connection().execute(asked, {"made": made}).one()) == ("uncertainty", None)
    assert [check for check in filled.check() if not check.ok] == []


def test_a_token_of_before_still_counts_once(filled: Database) -> None:
    with filled.read() as session:
        label = current_labels(session)[-1]
    with filled.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER label_unchanged")
        session.connection().exec_driver_sql(f"UPDATE label SET client_token = 'plain' WHERE id = '{label.label_id}'")
    with filled.write() as session:
        again = vote(session, label.comparison_id, Verdict.B, labeller_id=label.labeller_id, client_token="plain")
    assert again == label.label_id


@pytest.mark.parametrize("revision", ["0099", "f00d"])
def test_tables_of_another_program_are_named_and_left_alone(filled: Database, revision: str) -> None:
    with filled.write() as session:
        session.connection().exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    for change in (filled.upgrade, lambda: filled.downgrade("0001")):
        with pytest.raises(StorageError, match=f"at revision {revision}.*Nothing was changed") as caught:
            change()
        assert "Update the playground" in caught.value.remedy
    [wrong] = [check for check in filled.check() if not check.ok]
    assert (wrong.name, wrong.detail) == ("revision", revision)
    assert "db upgrade" not in wrong.remedy
    assert "Update the playground" in wrong.remedy
