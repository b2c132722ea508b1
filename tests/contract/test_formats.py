"""Every registered exchange format keeps the contract: a new file in exchange/formats gets these tests by itself."""

import re

import pytest
from typer.testing import CliRunner

from playground.cli.app import app
from playground.exchange.base import FORMATS, ExchangeFormat, format_of
from tests.label_rows import label_row, side

ENDING = re.compile(r"^\.[a-z0-9]{1,10}$")
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
    assert {"csv", "jsonl"} <= set(FORMATS)


def test_it_has_a_title_and_an_ending_of_its_own(form: ExchangeFormat) -> None:
    assert form.title
    assert ENDING.match(form.ending)
    assert [name for name in FORMATS if FORMATS.get(name).ending == form.ending] == [form.name]
    assert type(format_of(f"labels{form.ending}")) is type(form)


def test_no_rows_make_a_file_too(form: ExchangeFormat) -> None:
    assert isinstance(form.write([]), str)


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_any_text_can_be_written(form: ExchangeFormat, text: str) -> None:
    rows = [label_row(1, prompt=text, a=side("math", text), rationale=text, tags=(text,)), label_row(2)]
    written = form.write(rows)
    written.encode("utf-8")
    assert form.write(rows) == written
    assert len(written) > len(form.write([]))


def test_letters_of_any_script_are_kept(form: ExchangeFormat) -> None:
    assert "Żółć 水 🦜" in form.write([label_row(prompt="Żółć 水 🦜")])


@pytest.mark.parametrize("name", TABLES)
def test_a_line_break_in_a_text_makes_no_new_row(name: str) -> None:
    """As many lines as without the break, or the text in quotes as CSV has it."""
    write = FORMATS.get(name)().write
    broken, whole = write([label_row(prompt="one\ntwo")]), write([label_row(prompt="one two")])
    assert len(broken.splitlines()) == len(whole.splitlines()) or '"one\ntwo"' in broken


def test_rows_keep_their_order(form: ExchangeFormat) -> None:
    written = form.write([label_row(i, prompt=f"prompt number {i}") for i in range(5)])
    places = [written.index(f"prompt number {i}") for i in range(5)]
    assert places == sorted(places)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_runs_no_formula(name: str, formula: str) -> None:
    written = FORMATS.get(name)().write([label_row(prompt=formula, a=side("math", formula), rationale=formula)])
    assert written.count(f"'{formula}") == written.count(formula) > 0


def test_the_command_line_offers_it(form: ExchangeFormat) -> None:
    shown = CliRunner().invoke(app, ["labels", "export", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert form.ending in shown.stdout
