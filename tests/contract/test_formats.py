"""Every registered exchange format keeps the contract: a new file in exchange/formats gets these tests by itself."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from playground.cli.app import app
from playground.core.preferences import Verdict
from playground.core.records import LabelRow
from playground.errors import InvalidRequest
from playground.exchange.base import FORMATS, ExchangeFormat, format_of, losses
from playground.exchange.records import COLUMNS, as_records
from tests.label_rows import label_row, labels, side

ENDING = re.compile(r"^(\.[a-z0-9]{1,10}){1,2}$")
FORMULAS = ("=HYPERLINK", "+cmd", "-cmd", "@SUM(", "  =cmd", "−cmd")
TABLES = [name for name in FORMATS if FORMATS.get(name).is_table]
TEXTS = {
    "plain": "What is 2 + 2?",
    "empty": "",
    "unicode": "é ﷽ 🦜 \u202e",
    "newlines": "one\ntwo\r\nthree\rfour\u2028five",
    "marks": "a \"quoted\", 'single' | pipe \\ back\tslash <b>&amp;</b> `code`",
    "null": "a\x00b",
    "long": "word " * 20_000,
}


@pytest.fixture(params=list(FORMATS))
def form(request: pytest.FixtureRequest) -> ExchangeFormat:
    return FORMATS.get(request.param)()


def test_no_format_file_is_broken() -> None:
    assert FORMATS.broken() == {}
    assert {"csv", "jsonl", "trl", "trl_chat", "arena", "arena_parquet", "routellm", "pairs"} <= set(FORMATS)


def test_it_has_a_title_and_an_ending_of_its_own(form: ExchangeFormat) -> None:
    assert form.title
    assert ENDING.match(form.ending)
    assert [name for name in FORMATS if FORMATS.get(name).ending == form.ending] == [form.name]
    assert type(format_of(f"labels{form.ending}")) is type(form)


def test_no_rows_make_a_file_too(form: ExchangeFormat) -> None:
    assert isinstance(form.write([]), bytes)
    if form.can_read():
        assert form.read(form.write([])) == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_any_text_can_be_written(form: ExchangeFormat, text: str) -> None:
    rows = [label_row(1, prompt=text, a=side("math", text), rationale=text, tags=(text,)), label_row(2)]
    written = form.write(rows)
    assert form.write(rows) == written
    assert len(written) > len(form.write([]))


READABLE = [name for name in FORMATS if FORMATS.get(name).can_read()]


@pytest.mark.parametrize("name", READABLE)
@given(rows=st.lists(labels(), max_size=4))
@settings(max_examples=25)
def test_a_round_trip_loses_nothing_that_the_format_can_carry(name: str, rows: list[LabelRow]) -> None:
    form = FORMATS.get(name)()
    back = form.read(form.write(rows))
    assert [row.problem for row in back] == [""] * len(back)
    kept = [row for row in rows if form.holds(row)]
    assert carried(form, [row.row for row in back if row.row]) == carried(form, kept)


def carried(form: ExchangeFormat, rows: list[LabelRow]) -> list[dict[str, object]]:
    return [{name: value for name, value in record.items() if name in form.carries} for record in as_records(rows)]


@pytest.mark.parametrize("name", READABLE)
def test_a_format_carries_at_least_the_comparison_and_who_won(name: str) -> None:
    form = FORMATS.get(name)
    assert {"prompt", "answer_a", "answer_b", "expert_a", "expert_b", "choice"} <= form.carries <= set(COLUMNS)


@pytest.mark.parametrize("name", READABLE)
def test_what_a_format_cannot_carry_is_told(name: str) -> None:
    form = FORMATS.get(name)()
    rows = [label_row(rationale="shorter"), label_row(verdict=Verdict.SKIP), label_row(verdict=Verdict.BOTH_BAD)]
    told = " ".join(losses(form, rows))
    assert ("lose the reason" in told) == ("rationale" not in form.carries)
    assert ("lose how much better" in told) == ("strength" not in form.carries)
    assert ("are left out" in told) == (not all(form.holds(row) for row in rows))


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize(
    "junk", [b"\xff\xfe\x00", b"{", b"nothing", b"[1, 2", b"PAR1 or not", b'{"prompt": 3}\n', b"[{}]"]
)
def test_a_file_of_something_else_is_refused_with_a_sentence(name: str, junk: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        found = FORMATS.get(name)().read(junk)
        assert [row.row for row in found] == [None] * len(found)
        assert all(row.problem for row in found)


def test_letters_of_any_script_are_kept(form: ExchangeFormat) -> None:
    text = "Żółć 水 🦜"
    written = form.write([label_row(prompt=text)])
    readable = form.read(written)[0].row.prompt if form.can_read() else written.decode()  # type: ignore[union-attr]
    assert text in readable


@pytest.mark.parametrize("name", TABLES)
def test_a_line_break_in_a_text_makes_no_new_row(name: str) -> None:
    """As many lines as without the break, or the text in quotes as CSV has it."""
    write = FORMATS.get(name)().write
    broken, whole = (write([label_row(prompt=prompt)]).decode() for prompt in ("one\ntwo", "one two"))
    assert len(broken.splitlines()) == len(whole.splitlines()) or '"one\ntwo"' in broken


def test_rows_keep_their_order(form: ExchangeFormat) -> None:
    prompts = [f"prompt number {i}" for i in range(5)]
    written = form.write([label_row(i, prompt=prompt) for i, prompt in enumerate(prompts)])
    if form.can_read():
        assert [row.row.prompt for row in form.read(written) if row.row] == prompts
    else:
        places = [written.index(prompt.encode()) for prompt in prompts]
        assert places == sorted(places)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_runs_no_formula(name: str, formula: str) -> None:
    written = (
        FORMATS.get(name)().write([label_row(prompt=formula, a=side("math", formula), rationale=formula)]).decode()
    )
    assert written.count(f"'{formula}") == written.count(formula) > 0


def test_the_command_line_offers_it(form: ExchangeFormat) -> None:
    shown = CliRunner().invoke(app, ["labels", "export", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert form.ending in shown.stdout
