import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from playground.core.events import (
    EVENTS,
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
    ToolCalled,
    from_dict,
    to_dict,
)
from playground.core.values import Neighbours, Sampling, Scores, Text
from playground.errors import InvalidRequest, StorageError
from playground.store.arrays import pack
from playground.store.database import Database
from playground.store.runs import load_events, load_run, recent_runs, save_run, usages_since
from playground.store.tables import DecisionRow, RunRow, TraceRow
from playground.store.traces import INLINE_LIMIT, compress, expand

text = st.text(max_size=12)
number = st.floats(allow_nan=False, width=64)
count = st.integers(0, 1000)


def array(kind: str, *shape: int) -> st.SearchStrategy[np.ndarray]:
    size = int(np.prod(shape))
    return st.lists(st.floats(0, 1, width=16), min_size=size, max_size=size).map(
        lambda values: np.array(values, kind).reshape(shape)
    )


texts = st.lists(text, max_size=3).map(tuple)
numbers = st.lists(number, max_size=3).map(tuple)
pairs = st.lists(st.tuples(text, number), max_size=3).map(tuple)
evidence = st.one_of(
    st.builds(Text, sentence=text),
    st.builds(Scores, sentence=text, scores=numbers, words=pairs),
    st.builds(Neighbours, sentence=text, prompts=texts, similarities=numbers, experts=texts),
)
common = {"run_id": st.just("run-1"), "seq": count, "at": number}
weights, layer = array("f4", 3), array("f2", 4, 3)
strategies = {
    RunStarted: st.builds(RunStarted, **common, prompt=text, router=text, version=text, level=st.just("gate"),
              pool=texts, seed=count, layers=count, heads=count),
    Decided: st.builds(Decided, **common, weights=weights, propensity=weights, scheme=st.just("argmax"),
              evidence=evidence, uncertainty=st.none() | weights),
    PromptRead: st.builds(PromptRead, **common, tokens=texts, layer_weights=st.none() | array("f2", 2, 4, 3),
              own=st.tuples(count, count)),
    ToolCalled: st.builds(ToolCalled, **common, expert=text, query=text, result=text, ok=st.booleans(), seconds=number),
    TokenGenerated: st.builds(TokenGenerated, **common, index=count, text=text, token_id=count, weights=weights,
              layer_weights=st.none() | layer, attention=st.none() | array("f2", 5), logprob=number, entropy=number,
              alternatives=pairs),
    Finished: st.builds(Finished, **common, text=text, usage=weights, tokens=count, prompt_tokens=count,
              timings=st.dictionaries(st.sampled_from(["encode_s", "total_s"]), number), reason=st.just("stop"),
              cost=st.none() | number),
    Failed: st.builds(Failed, **common, stage=text, message=text, remedy=text, text=text),
}  # fmt: skip
anything = st.one_of(*strategies.values())


def assert_same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    if isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        assert one.tobytes() == two.tobytes()
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(two, field.name))
    else:
        assert one == two


@given(event=anything)
def test_an_event_survives_its_wire_form(event: Event) -> None:
    assert_same(from_dict(to_dict(event)), event)


@settings(max_examples=50)
@given(events=st.lists(anything, max_size=4))
def test_events_survive_a_trace(events: list[Event]) -> None:
    blob = compress(events)
    assert blob == compress(events)
    for back, event in zip(expand(blob), events, strict=True):
        assert_same(back, event)


def test_the_strategies_cover_every_event() -> None:
    assert set(strategies) == set(EVENTS.values())


@pytest.mark.parametrize("tokens", [3, 400])
def test_a_reopened_run_is_the_live_run(database: Database, make_run: Any, tmp_path: Path, tokens: int) -> None:
    events = make_run(tokens=tokens)
    with database.write() as session:
        save_run(session, events, prompt="What is 2 + 2?", sampling=Sampling(), base_model="tiny")
    database.close()
    reopened = Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}")
    with reopened.read() as session:
        back, row = load_events(session, events[0].run_id), session.get(TraceRow, events[0].run_id)
    assert row is not None
    assert (row.path is not None) == (row.bytes > INLINE_LIMIT) == (tokens == 400)
    assert len(back) == len(events)
    for one, two in zip(back, events, strict=True):
        assert_same(one, two)
    reopened.close()


def test_a_damaged_trace_is_refused(database: Database, make_run: Any, tmp_path: Path) -> None:
    events = make_run(tokens=400)
    with database.write() as session:
        save_run(session, events, prompt="p", sampling=Sampling(), base_model="tiny")
    path = tmp_path / "traces" / f"{events[0].run_id}.json.gz"
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(blob)
    with database.read() as session, pytest.raises(StorageError, match="damaged"):
        load_events(session, events[0].run_id)
    path.unlink()
    with database.read() as session, pytest.raises(StorageError, match="cannot be read"):
        load_events(session, events[0].run_id)


def test_run_decision_and_summary_hold_what_happened(database: Database, save: Any) -> None:
    first, second = save("What is 2 + 2?"), save("How far is a mile in km?", expert="units", text="1.609 km")
    with database.read() as session:
        run, summaries = load_run(session, second), recent_runs(session)
        decision = session.get(
            DecisionRow, session.connection().exec_driver_sql("SELECT max(id) FROM decision").scalar()
        )
    assert [summary.id for summary in summaries] == [second, first]
    assert summaries[0].expert == "units"
    assert (run.prompt, run.text, run.router, run.finish_reason) == (
        "How far is a mile in km?",
        "1.609 km",
        "linear",
        "stop",
    )
    assert run.usage[run.experts.index("units")] == 1.0
    assert decision is not None
    assert decision.propensity == 1.0
    assert decision.explanation["sentence"] == "Highest score."


def test_one_prompt_is_one_row_however_it_is_typed(database: Database, save: Any) -> None:
    save("caf\u00e9"), save("cafe\u0301"), save("tea")
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM prompt").scalar() == 2


def test_broken_and_cancelled_runs_are_kept(database: Database, make_run: Any) -> None:
    events = make_run()
    run = events[0].run_id
    broken = [
        *events[:4],
        Failed("decode", "The model ran out of memory.", "Use a smaller pool.", " t0 t1", run_id=run, seq=9, at=0.4),
    ]
    cut = [dataclasses.replace(event, run_id="cut") for event in events[:4]]
    with database.write() as session:
        save_run(session, broken, prompt="p", sampling=Sampling(), base_model="tiny")
        save_run(session, cut, prompt="p", sampling=Sampling(), base_model="tiny")
    with database.read() as session:
        failed, cancelled = load_run(session, run), load_run(session, "cut")
        ends = [load_events(session, name)[-1] for name in (run, "cut")]
    assert (failed.error, failed.finish_reason) == ("decode: The model ran out of memory.", "failed")
    assert (failed.text, cancelled.text) == ("t0 t1", "t0 t1")
    assert isinstance(ends[0], Failed)
    assert isinstance(ends[1], Finished)  # so that a reopened run does not look as if more were to come
    assert (ends[1].reason, ends[1].tokens, ends[1].seq) == ("cancelled", 2, events[3].seq + 1)
    assert (cancelled.error, cancelled.finish_reason) == (None, "cancelled")


def test_a_run_is_stored_whole_or_not_at_all(database: Database, make_run: Any) -> None:
    events = [dataclasses.replace(event, run_id="../escape") for event in make_run()]
    with pytest.raises(InvalidRequest), database.write() as session:
        save_run(session, events, prompt="p", sampling=Sampling(), base_model="tiny")
    with database.read() as session:
        assert recent_runs(session) == []


def test_text_that_no_database_holds_is_still_a_run(database: Database, save: Any) -> None:
    run = save("half a pair \ud800 and a \x00", text="\x00")
    with database.read() as session:
        assert load_run(session, run).text == "\ufffd"
        started = load_events(session, run)[0]
    assert isinstance(started, RunStarted)
    assert started.prompt == "half a pair \ud800 and a \x00"


def test_an_unknown_run_is_said(database: Database) -> None:
    with database.read() as session:
        for look in (load_run, load_events):
            with pytest.raises(InvalidRequest, match="No run"):
                look(session, "nothing")


def test_usages_are_everybodys_since_a_moment(database: Database, make_run: Any, save: Any) -> None:
    everyone = make_run()[0].pool
    now = datetime.now(UTC)
    save("one", expert="math")
    with database.write() as session:
        row = session.exec(select(RunRow)).one().model_dump()
        for name, changes in {  # rows are never changed, so others are made from the first
            "old": {"created_at": now - timedelta(days=8)},
            "taken back": {"deleted_at": now},
            "nothing came": {"usage": pack(np.zeros(len(everyone)))},
            "of another visitor": {"created_at": now - timedelta(days=6), "session_id": "somebody"},
        }.items():
            session.add(RunRow(**row | changes | {"id": name}))
    save("two", expert="b", pool=("a", "b"))
    with database.read() as session:
        found = usages_since(session, now - timedelta(days=7))
    told = sorted((at < now - timedelta(days=5), names, names[int(usage.argmax())]) for at, names, usage in found)
    assert told == [(False, ("a", "b"), "b"), (False, everyone, "math"), (True, everyone, "math")]
