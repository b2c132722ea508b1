"""The store on a real PostgreSQL server, alone and shared by two replicas."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from playground.core.events import Event
from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import InvalidRequest, StorageError
from playground.exchange.formats.csv import CommaSeparated
from playground.store.backup import back_up
from playground.store.database import Database
from playground.store.deletion import erase, unprotected
from playground.store.label_views import count_labels, current_labels, labelled_pairs
from playground.store.labels import create_comparison, undo, vote
from playground.store.people import KEY_FILE, known_labeller, labeller, unnamed_handle
from playground.store.runs import load_events, load_run, recent_runs, save_run
from playground.store.tables import TrainingRunRow
from playground.store.trainings import start_training
from tests.store.conftest import MakeRun

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(postgres: str, tmp_path: Path) -> Iterator[Database]:
    made = Database(postgres, data_dir=tmp_path)
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


def test_a_labeller_is_erased_and_the_triggers_are_there_again(server: Database, make_run: MakeRun) -> None:
    runs = [make_run(expert=expert) for expert in ("math", "base")]
    with server.write() as session:
        for events in runs:
            save_run(session, events, prompt="a secret", sampling=Sampling(), base_model="tiny", session_id="mine")
        me = labeller(session, "cookie")
        first, second = (events[0].run_id for events in runs)
        made = create_comparison(session, first, second, selection="manual", pair_propensity=None, left_run=first)
        vote(session, made, Verdict.A, labeller_id=me, client_token="t1")
    with server.write() as session, unprotected(session):
        erased = erase(session, me)
    assert (erased.labels, erased.prompts, erased.runs) == (1, 1, 2)
    with server.read() as session:
        assert current_labels(session) == []
        assert known_labeller(session, "cookie") is None
        assert load_run(session, first).prompt == ""
    with pytest.raises((sa.exc.DBAPIError, StorageError), match="never"), server.write() as session:
        session.connection().exec_driver_sql("UPDATE prompt SET text = 'x'")


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


@pytest.fixture
def replicas(postgres: str, tmp_path: Path) -> Iterator[list[Database]]:
    """Return two programs on one fresh server, each with a data folder of its own that is not there yet."""
    made = [Database(postgres, data_dir=tmp_path / name) for name in ("one", "two")]
    for database in made:
        database.upgrade()
    yield made
    made[0].downgrade("base")
    for database in made:
        database.close()


def stored(database: Database, events: list[Event], prompt: str = "2 + 2?") -> str:
    with database.write() as session:
        save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
    return events[0].run_id


def pair(database: Database, make_run: MakeRun, prompt: str) -> str:
    """Return a new comparison of two runs."""
    runs = [stored(database, make_run(prompt, expert=expert), prompt) for expert in ("math", "base")]
    with database.write() as session:
        return create_comparison(session, *runs, selection="uniform", pair_propensity=0.1, left_run=runs[0])


def test_a_fresh_server_and_no_data_folder_save_a_hundred_votes(replicas: list[Database], make_run: MakeRun) -> None:
    for number in range(100):
        database = replicas[number % 2]
        comparison = pair(database, make_run, f"Question {number}?")
        with database.write() as session:
            who = labeller(session, f"visitor-{number % 10}")
            vote(session, comparison, Verdict.A, labeller_id=who, client_token=f"t{number}")
    for database in replicas:
        with database.read() as session:
            rows = current_labels(session)
            assert count_labels(session)["all"] == len(rows) == 100
            assert {row.shown_verdict for row in rows} == {Verdict.A}
            assert len({row.labeller_id for row in rows}) == 10


def test_replicas_agree_on_who_a_labeller_is(replicas: list[Database], tmp_path: Path) -> None:
    one, two = replicas
    with one.read() as session:
        assert known_labeller(session, "ann's cookie") is None
    with one.write() as session:
        ann, client = labeller(session, "ann's cookie"), unnamed_handle(session, "192.0.2.7")
    with two.write() as session:
        assert labeller(session, "ann's cookie") == ann
        assert labeller(session, "bob's cookie") != ann
        assert unnamed_handle(session, "192.0.2.7") == client
    with two.read() as session:
        assert known_labeller(session, "ann's cookie") == ann
    assert not list(tmp_path.rglob("*.key")), "no machine keeps a key of its own"


def test_two_replicas_may_start_at_once_on_a_fresh_server(postgres: str) -> None:
    code = (
        "import sys; from playground.store.database import Database; "
        "d = Database(sys.argv[1]); d.upgrade(); print([c.ok for c in d.check()])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, postgres], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in "abc"
    ]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert all("False" not in output for output in outputs)
    made = Database(postgres)
    made.downgrade("base")
    made.close()


def test_replicas_that_meet_a_visitor_at_once_make_one_labeller(replicas: list[Database]) -> None:
    found, gate = [], threading.Barrier(8)

    def meet(database: Database) -> None:
        gate.wait()
        with database.write() as session:
            found.append(labeller(session, "ann's cookie"))

    threads = [threading.Thread(target=meet, args=(replicas[i % 2],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_vote_sent_to_two_replicas_at_once_counts_once(replicas: list[Database], make_run: MakeRun) -> None:
    comparison, gate, found = pair(replicas[0], make_run, "Which?"), threading.Barrier(8), []

    def cast(number: int) -> None:
        gate.wait()
        with replicas[number % 2].write() as session:
            who = labeller(session, "ann's cookie")
            found.append(vote(session, comparison, Verdict.A, labeller_id=who, client_token="one press"))

    threads = [threading.Thread(target=cast, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    with replicas[1].read() as session:
        assert count_labels(session)["all"] == 1


def test_replicas_that_store_the_same_prompt_at_once_store_it_once(replicas: list[Database], make_run: MakeRun) -> None:
    runs, gate = [make_run(tokens=number + 1) for number in range(8)], threading.Barrier(8)

    def store(number: int) -> None:
        gate.wait()
        stored(replicas[number % 2], runs[number])

    threads = [threading.Thread(target=store, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with replicas[0].read() as session:
        assert len(recent_runs(session)) == 8
        assert session.connection().exec_driver_sql("SELECT count(*) FROM prompt").scalar() == 1


def test_another_replica_reads_a_large_trace(replicas: list[Database], make_run: MakeRun) -> None:
    events = make_run(tokens=400)
    run = stored(replicas[0], events)
    with replicas[1].read() as session:
        assert len(load_events(session, run)) == len(events)


def test_a_key_file_of_before_is_taken_over_by_every_replica(replicas: list[Database]) -> None:
    one, two = replicas
    assert one.folder is not None
    one.folder.mkdir()
    (one.folder / KEY_FILE).write_bytes(b"k" * 32)
    with one.write() as session:
        ann = labeller(session, "ann's cookie")
    with two.write() as session:
        assert labeller(session, "ann's cookie") == ann
    (one.folder / KEY_FILE).unlink()
    with one.read() as session:
        assert known_labeller(session, "ann's cookie") == ann


def test_a_copy_to_a_file_is_refused_with_the_right_tool(server: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="pg_dump"):
        back_up(server, tmp_path / "copy.sqlite3")
