"""Deletion on request: no copy of the text stays, in the database file, in versions or in traces."""

import gzip
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import select
from typer.testing import CliRunner
from ulid import ULID

from playground.actions.deletion import delete_by_name, delete_of, delete_own
from playground.actions.identity import session_of
from playground.cli.app import app
from playground.core.events import Decided, Event, Finished, RunStarted
from playground.core.preferences import Verdict
from playground.core.values import Neighbours, Sampling
from playground.errors import InvalidRequest, NotPermitted
from playground.routers.base import ROUTERS
from playground.serving.versions import SHIPPED, Versions
from playground.settings import Settings, get_settings
from playground.store.collecting import begin_sitting, give_consent
from playground.store.database import Database
from playground.store.label_views import count_labels, current_labels
from playground.store.labels import add_rationale, create_comparison, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events, save_run
from playground.store.tables import ConsentRow, LabelAspectRow, SittingRow
from tests.scripted import scripted

SECRET = "Zanzibar-quokka-7319"
SHARED = "a prompt that two people typed"
ANSWER = "Narwhal-umbrella-2764"
REASON = "Xylophone-tundra-5541"
POOL = ("base", "math")
ME, OTHER = "handle-of-the-person", "handle-of-another"


def run(prompt: str, *, text: str = "An answer.", seen: tuple[str, ...] = ()) -> list[Event]:
    run_id, weights = str(ULID()), np.array([0.0, 1.0], np.float32)
    evidence = Neighbours("Near.", seen, (0.9,) * len(seen), ("math",) * len(seen))
    return [
        RunStarted(prompt, "knn", "knn-test", "prompt", POOL, 0, 2, 4, run_id=run_id),
        Decided(weights, weights, "argmax", evidence, run_id=run_id, seq=1),
        Finished(text, weights, 3, 5, {"total_s": 0.1}, "stop", run_id=run_id, seq=2),
    ]


def store(database: Database, who: str, prompt: str, *, text: str = "An answer.", seen: tuple[str, ...] = ()) -> str:
    """Two runs of a prompt by a visitor, and a vote. Return the label."""
    with database.write() as session:
        runs = [run(prompt, text=text, seen=seen), run(prompt, text=text, seen=seen)]
        for events in runs:
            save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny", session_id=session_of(who))
        one, two = (events[0].run_id for events in runs)
        made = create_comparison(session, one, two, selection="manual", pair_propensity=None, left_run=one)
        label = vote(session, made, Verdict.A, labeller_id=labeller(session, who), client_token=str(ULID()))
    with database.write() as session:
        add_rationale(session, label, REASON if who == ME else "clear", ["clearer"])
        session.add(LabelAspectRow(label_id=label, aspect="harmless", value=2))
        give_consent(session, labeller(session, who), licence="CC-BY-4.0", terms="")
        begin_sitting(session, labeller(session, who), goal=30)
    return label


def learned(settings: Settings, database: Database, prompts: tuple[str, ...]) -> str:
    """A version of the nearest-prompts router that remembers these prompts."""
    router = ROUTERS.get("knn").load(SHIPPED / "knn")
    memory = router.memory
    kept = replace(memory, prompts=(*prompts, *memory.prompts[len(prompts) :]))
    made = type(router)(router.experts, kept, router.options)
    return Versions(database, settings).create(
        made, parent="knn-test", note="", metrics={}, config={}, labels_hash="", encoder="tiny"
    )


def everything(folder: Path) -> bytes:
    """Every byte of the data folder, and what is packed in it: files of traces, and traces in rows."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [data, gzip.decompress(data) if path.suffix == ".gz" else b""]
    with sqlite3.connect(folder / "playground.sqlite3") as connection:
        rows = connection.execute("SELECT inline FROM trace WHERE inline IS NOT NULL").fetchall()
    return b"\n".join([*found, *(gzip.decompress(blob) for (blob,) in rows)])


@pytest.fixture
def world(settings: Settings, database: Database) -> tuple[Settings, Database, str]:
    large = np.random.default_rng(0).bytes(80_000).hex()  # its trace is too large for a row
    store(database, ME, SECRET, text=f"{ANSWER} {large}")
    store(database, ME, SHARED)
    store(database, OTHER, SHARED)
    store(database, OTHER, "what the other typed", seen=(SECRET, "a known prompt"))
    store(database, OTHER, "a second one", text=large, seen=("a known prompt", SECRET))
    version = learned(settings, database, (SECRET, "kept prompt"))
    return settings, database, version


def test_no_copy_of_the_text_stays_anywhere(world: tuple[Settings, Database, str]) -> None:
    settings, database, version = world
    before = everything(settings.data_dir)
    assert all(text.encode() in before for text in (SECRET, ANSWER, REASON))
    assert len(list((settings.data_dir / "traces").glob("*.gz"))) == 4, "some traces lie in files"
    database.close()
    done = delete_by_name(settings, ME)
    assert (done.labels, done.prompts, done.reasons, done.is_compact) == (2, 1, 2, True)
    after = everything(settings.data_dir)
    for text in (SECRET, ANSWER, REASON, ME):
        assert text.encode() not in after, text
    assert SHARED.encode() in after
    assert len(list((settings.data_dir / "traces").glob("*.gz"))) == 2
    assert all(check.ok for check in database.check()), "the triggers are there again"
    router, _ = Versions(database, settings).load("knn", version)
    assert "kept prompt" in router.memory.prompts  # type: ignore[attr-defined]


def test_what_others_gave_stays(world: tuple[Settings, Database, str]) -> None:
    settings, database, _ = world
    delete_by_name(settings, ME)
    with database.read() as session:
        rows = current_labels(session)
        assert count_labels(session) == {"all": 3, "a": 3}
        assert {row.prompt for row in rows} == {SHARED, "what the other typed", "a second one"}
        assert {row.rationale for row in rows} == {"clear"}
        seen = next(row for row in rows if row.prompt == "what the other typed")
        [decided] = [event for event in load_events(session, seen.a.run_id) if isinstance(event, Decided)]
    assert decided.evidence.prompts == ("(deleted on request)", "a known prompt")  # type: ignore[union-attr]


def test_consent_aspects_and_sittings_go_with_the_votes(world: tuple[Settings, Database, str]) -> None:
    settings, database, _ = world
    with database.read() as session:
        assert len(session.exec(select(LabelAspectRow)).all()) == 5
    delete_by_name(settings, ME)
    with database.read() as session:
        assert len(session.exec(select(LabelAspectRow)).all()) == 3
        others = labeller(session, OTHER)
        for table in (ConsentRow, SittingRow):
            assert [row.labeller_id for row in session.exec(select(table)).all()] == [others]


def test_a_run_that_another_person_judged_stays(database: Database, settings: Settings) -> None:
    label = store(database, ME, SECRET, text=ANSWER)
    with database.write() as session:
        [row] = current_labels(session, label_id=label)
        vote(session, row.comparison_id, Verdict.B, labeller_id=labeller(session, OTHER), client_token="t")
    done = delete_by_name(settings, ME)
    assert (done.labels, done.prompts, done.runs) == (1, 0, 0)
    with database.read() as session:
        [row] = current_labels(session)
    assert (row.prompt, row.a.text) == (SECRET, ANSWER)


def test_the_one_who_judged_second_takes_nothing_of_the_first(database: Database, settings: Settings) -> None:
    label = store(database, ME, SECRET)
    with database.write() as session:
        [row] = current_labels(session, label_id=label)
        vote(session, row.comparison_id, Verdict.B, labeller_id=labeller(session, OTHER), client_token="t")
    done = delete_by_name(settings, OTHER)
    assert (done.labels, done.prompts, done.runs) == (1, 0, 0)
    with database.read() as session:
        assert [row.prompt for row in current_labels(session)] == [SECRET]


def test_the_host_deletes_by_the_shown_handle(world: tuple[Settings, Database, str]) -> None:
    """The host does not know the visitor's secret: what is theirs is told by whose comparison it was first."""
    settings, database, _ = world
    with database.read() as session:
        shown = {row.labeller for row in current_labels(session) if row.prompt == SECRET}
    done = delete_by_name(settings, shown.pop())
    assert (done.labels, done.prompts) == (2, 1)
    assert SECRET.encode() not in everything(settings.data_dir)


def test_answers_that_a_host_prepared_stay_when_one_judge_goes(database: Database, settings: Settings) -> None:
    """One session asked for all answers, and several people judged them: what nobody judged yet is not theirs."""
    host = "handle-of-the-host"
    labels = [store(database, host, f"prepared {i}") for i in range(2)]
    with database.write() as session:
        made = run("prepared and not judged yet")
        save_run(
            session,
            made,
            prompt="prepared and not judged yet",
            sampling=Sampling(),
            base_model="tiny",
            session_id=session_of(host),
        )
        rows = [row for label in labels for row in current_labels(session, label_id=label)]
        vote(session, rows[0].comparison_id, Verdict.A, labeller_id=labeller(session, ME), client_token="m")
    delete_by_name(settings, ME)
    left = everything(settings.data_dir)
    assert all(text in left for text in (b"prepared 0", b"prepared 1", b"prepared and not judged yet"))


def test_a_vote_that_was_taken_back_is_deleted_too(database: Database, settings: Settings) -> None:
    label = store(database, ME, SECRET)
    with database.write() as session:
        undo(session, label, labeller_id=labeller(session, ME), client_token="u")
    assert delete_by_name(settings, ME).labels == 1
    assert SECRET.encode() not in everything(settings.data_dir)


def test_a_stranger_and_a_second_time(world: tuple[Settings, Database, str]) -> None:
    settings, _, _ = world
    delete_by_name(settings, ME)
    for nobody in (ME, "nobody-at-all", "(deleted on request)"):
        with pytest.raises(InvalidRequest):
            delete_by_name(settings, nobody)


def test_the_page_deletes_ones_own_and_the_host_needs_the_password(tmp_path: Path) -> None:
    runtime = scripted(tmp_path)
    runtime.settings = runtime.settings.model_copy(update={"admin_password": "secret-of-the-host"})
    runtime.versions = Versions(runtime.database, runtime.settings)  # type: ignore[attr-defined]
    store(runtime.database, ME, SECRET)
    store(runtime.database, OTHER, SHARED)
    with pytest.raises(NotPermitted):
        delete_of(runtime, "anybody", password="wrong")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        delete_own(runtime, "somebody-new")  # type: ignore[arg-type]
    assert "1 labels" in delete_own(runtime, ME).sentence  # type: ignore[arg-type]
    with runtime.database.read() as session:
        [row] = current_labels(session)
    assert delete_of(runtime, row.labeller_id, password="secret-of-the-host").labels == 1  # type: ignore[arg-type]


def test_the_command_asks_first(world: tuple[Settings, Database, str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, database, _ = world
    for name in ("cache_dir", "data_dir", "experts_dir"):
        monkeypatch.setenv(f"PLAYGROUND_{name.upper()}", str(getattr(settings, name)))
    get_settings.cache_clear()
    assert CliRunner().invoke(app, ["labels", "delete", ME], input="n\n").exit_code == 1
    with database.read() as session:
        assert count_labels(session)["all"] == 5
    told = CliRunner().invoke(app, ["labels", "delete", ME, "--yes", "--json"])
    assert json.loads(told.stdout)["labels"] == 2
