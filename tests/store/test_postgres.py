"""The store on a real PostgreSQL server. Set PLAYGROUND_TEST_POSTGRES to the address of an empty database to run it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import InvalidRequest, StorageError
from playground.exchange.formats.csv import CommaSeparated
from playground.store.database import Database
from playground.store.label_views import current_labels, labelled_pairs
from playground.store.labels import create_comparison, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events, load_run, recent_runs, save_run
from playground.store.tables import TrainingRunRow
from playground.store.versions import start_training
from tests.store.conftest import MakeRun

ADDRESS = os.environ.get("PLAYGROUND_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not ADDRESS, reason="PLAYGROUND_TEST_POSTGRES names no server")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Database]:
    made = Database(ADDRESS, data_dir=tmp_path)
    made.upgrade()
    made.upgrade()
    yield made
    made.downgrade("base")
    made.close()


def test_the_whole_loop(server: Database, make_run: MakeRun) -> None:
    runs = [make_run(expert=expert, tokens=tokens) for expert, tokens in (("math", 3), ("base", 400))]
    with server.write() as session:
        for events in runs:
            save_run(session, events, prompt="2 + 2?", sampling=Sampling(seed=2**40), base_model="tiny")
        me = labeller(session, "cookie")
        first, second = (events[0].run_id for events in runs)
        comparison = create_comparison(
            session, first, second, selection="uniform", pair_propensity=0.1, left_run=second
        )
        vote(session, comparison, Verdict.A, labeller_id=me, client_token="t1")
    with server.write() as session:
        again = vote(session, comparison, Verdict.B, labeller_id=me, client_token="t2")
        undo(session, again, labeller_id=me, client_token="t3")
    with server.read() as session:
        (row,) = current_labels(session)
        assert row.shown_verdict is Verdict.A
        assert row.shown_sides[0].expert == "base"
        assert (len(labelled_pairs(session)), len(recent_runs(session))) == (1, 2)
        assert row.created_at.utcoffset() is not None
        assert CommaSeparated().write([row])
        assert len(load_events(session, second)) == 403
        assert load_run(session, first).sampling.seed == 7
    for statement in ("UPDATE label SET choice = 'b'", "DELETE FROM label", "UPDATE run SET text = 'x'"):
        with pytest.raises((sa.exc.DBAPIError, StorageError), match="never"), server.write() as session:
            session.connection().exec_driver_sql(statement)
    assert all(check.ok for check in server.check())


def test_one_fine_tune_of_a_router_runs_at_a_time(server: Database, make_run: MakeRun) -> None:
    with server.write() as session:
        save_run(session, make_run(), prompt="2 + 2?", sampling=Sampling(), base_model="tiny")
    job = {"router": "linear", "parent_version": "linear-shipped-0badf00d", "method": "dpo"}
    with server.write() as session:
        start_training(session, TrainingRunRow(**job))
    with pytest.raises(InvalidRequest, match="already"), server.write() as session:
        start_training(session, TrainingRunRow(**job))
    with pytest.raises(sa.exc.IntegrityError), server.write() as session:
        session.add(TrainingRunRow(**job))


def test_an_unreachable_server_is_said(server: Database) -> None:
    gone = Database("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(StorageError, match="cannot be reached"), gone.read() as session:
        session.connection()
