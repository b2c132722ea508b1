"""The formats that ship: no formula runs, and nothing is lost."""

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.actions.export import run_csv
from playground.core.events import Event, TokenGenerated
from playground.core.fold import fold_all
from playground.errors import InvalidRequest
from playground.exchange.base import FORMATS, ExchangeFormat, exchange_format, format_of
from playground.exchange.formats.csv import CommaSeparated
from playground.exchange.formats.jsonl import JsonLines
from playground.exchange.records import safe_text, unsafe_text
from tests.label_rows import label_row
from tests.scripted import gate_events, runtime

__all__ = ["gate_events", "runtime"]

WIDE = (
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "\u00a0=1",
    "\u200b=1",
    "\ufeff=1",
    "\u202e=1",
    "﹢1",
)  # full width, small, behind what nobody sees
EVIL = '=HYPERLINK("http://x";"y")'


def test_csv_runs_no_formula_and_loses_nothing() -> None:
    prompts = [EVIL, "+1", "-1", "@SUM(A1)", "\tx", "  =1", "−1", *WIDE, 'a "quoted"\nline, é']
    rows = [label_row(i, prompt=prompt, rationale="=cmd", tags=("clear", "short")) for i, prompt in enumerate(prompts)]
    read = list(csv.DictReader(io.StringIO(read_as_excel(CommaSeparated().write(rows).decode()), newline="")))
    assert [row["prompt"] for row in read] == [*(f"'{prompt}" for prompt in prompts[:-1]), prompts[-1]]
    assert (read[0]["rationale"], json.loads(read[0]["tags"])) == ("'=cmd", ["clear", "short"])
    assert (read[0]["pair_propensity"], read[0]["blind"], read[0]["target"]) == ("", "True", "0.9")
    assert CommaSeparated().write([]).startswith(b"\xef\xbb\xbflabel_id,")


def read_as_excel(text: str) -> str:
    """The text of a CSV file as a reader of UTF-8 with a byte-order mark has it."""
    assert text.startswith("\ufeff")
    return text.encode().decode("utf-8-sig")


@pytest.mark.parametrize("text", ["1+1", "é=1", "水", "", "   ", "'1", "a\t=1", "…", "½", "🦜"])
def test_a_text_that_is_no_formula_is_left_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize("text", [EVIL, "'=1", "''=1", "'", "it's", "'quoted'", "  =1", "\t1"])
def test_the_apostrophe_is_taken_away_again(text: str) -> None:
    assert unsafe_text(safe_text(text)) == text


UNSEEN = st.text(st.characters(categories=["Zs", "Zl", "Zp", "Cc", "Cf"]), max_size=4)


@given(UNSEEN, st.sampled_from("=+-@−＝＋－＠﹦﹢﹣﹫⁼⁺"))
def test_nothing_unseen_hides_a_formula(before: str, sign: str) -> None:
    assert safe_text(f"{before}{sign}1") == f"'{before}{sign}1"


def test_the_table_of_a_run_has_the_mark_and_escapes_too(gate_events: list[Event]) -> None:
    events = [replace(event, text="＝1") if isinstance(event, TokenGenerated) else event for event in gate_events]
    written = run_csv(fold_all(events))
    rows = list(csv.DictReader(io.StringIO(read_as_excel(written), newline="")))
    assert {row["text"] for row in rows if not row["token"].startswith("p")} == {"'＝1"}


def test_json_lines_hold_texts_and_usages_as_they_are() -> None:
    [line] = JsonLines().write([label_row(prompt=EVIL)]).splitlines()
    record = json.loads(line)
    assert record["prompt"] == EVIL
    assert record["usage_a"] == {"base": 0.0, "math": 1.0}
    assert (record["expert_a"], record["expert_b"], record["left"]) == ("math", "base", "b")
    assert JsonLines().write([]) == b""


def test_the_ending_of_a_file_chooses_the_format() -> None:
    assert isinstance(format_of("labels.csv"), CommaSeparated)
    with pytest.raises(InvalidRequest) as caught:
        format_of("labels.xls")
    assert caught.value.message == "The ending of labels.xls is not known."
    assert all(FORMATS.get(name).ending in caught.value.remedy for name in FORMATS)


def test_a_format_without_an_ending_or_without_write_is_refused() -> None:
    with pytest.raises(ValueError, match="ending"):
        exchange_format("nothing", title="Nothing", ending="csv", is_table=False)
    with pytest.raises(ValueError, match="write"):
        exchange_format("nothing", title="Nothing", ending=".no", is_table=False)(type("No", (ExchangeFormat,), {}))
