"""A filled database of the first release, taken to the newest tables and back: SQLite, and PostgreSQL where set."""

import os
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
from playground.store.database import Database, newest_revision
from playground.store.label_views import current_labels, labelled_pairs
from playground.store.labels import add_rationale, create_comparison, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events, load_run, recent_runs, save_run
from playground.store.tables import RouterVersionRow, TrainingRunRow
from playground.store.versions import (
    LabelUse,
    add_evaluation,
    add_promotion,
    add_training_labels,
    add_version,
    end_training,
    start_training,
    versions_of,
)
from tests.store.conftest import MakeRun

POSTGRES = os.environ.get("PLAYGROUND_TEST_POSTGRES", "")
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
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def first_release(request: pytest.FixtureRequest, tmp_path: Path, filled: Database) -> Iterator[Database]:
    """Return a database made by the first migration, with the rows of `filled`."""
    if request.param == "postgresql" and not POSTGRES:
        pytest.skip("PLAYGROUND_TEST_POSTGRES names no server")
    address = POSTGRES if request.param == "postgresql" else f"sqlite:///{tmp_path / 'first.sqlite3'}"
    made = Database(address, data_dir=tmp_path)
    made.upgrade("0001")
    with made.write() as session:
        for name, values in rows(filled).items():
            old = OLD.get(name, {})
            columns = [sa.column(c.name, c.type) for c in SQLModel.metadata.tables[name].columns]
            table = sa.table(name, *columns, *(sa.column(column) for column in old))
            session.connection().execute(sa.insert(table), [row | old for row in values])
    yield made
    made.downgrade("base")
    made.close()


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, in an order in which they can be inserted."""
    with database.read() as session:
        connection = session.connection()
        found = {
            table.name: [
                dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in SQLModel.metadata.sorted_tables
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
    """Return what the program reads of the labels, runs and versions. The two databases keep JSON in another order."""
    with database.read() as session:
        runs = [run.id for run in recent_runs(session)]
        return [
            [repr(label) for label in current_labels(session)],
            [repr(pair) for pair in labelled_pairs(session)],
            [repr(replace(load_run(session, run), timings={})) for run in runs],
            [repr(load_events(session, run)) for run in runs],
            [repr(version) for version in versions_of(session, "linear", current=TRAINED)],
        ]


def test_a_filled_database_of_the_first_release_opens_whole(first_release: Database, filled: Database) -> None:
    first_release.upgrade()
    assert rows(first_release) == rows(filled)
    assert said(first_release) == said(filled)
    assert [check for check in first_release.check() if not check.ok] == []
    if first_release.is_sqlite:
        assert form(first_release) == form(filled)


def test_rows_stay_guarded_after_the_migration(first_release: Database) -> None:
    first_release.upgrade()
    guarded = [rule.table for rule in triggers.PROTECTED]
    for statement in [f"DELETE FROM {table}" for table in guarded] + ["UPDATE run SET text = 'x'"]:
        with pytest.raises((sa.exc.DBAPIError, StorageError), match="never"), first_release.write() as session:
            session.connection().exec_driver_sql(statement)
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
    assert rows(first_release) == rows(filled)
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
