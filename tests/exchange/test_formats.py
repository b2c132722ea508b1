"""The formats that ship: no formula runs, and nothing is lost."""

import csv
import io
import json

import pytest

from playground.errors import InvalidRequest
from playground.exchange.base import FORMATS, ExchangeFormat, exchange_format, format_of
from playground.exchange.formats.csv import CommaSeparated
from playground.exchange.formats.jsonl import JsonLines
from tests.label_rows import label_row

EVIL = '=HYPERLINK("http://x";"y")'


def test_csv_runs_no_formula_and_loses_nothing() -> None:
    prompts = [EVIL, "+1", "-1", "@SUM(A1)", "\tx", "  =1", "−1", 'a "quoted"\nline, é']
    rows = [label_row(i, prompt=prompt, rationale="=cmd", tags=("clear", "short")) for i, prompt in enumerate(prompts)]
    read = list(csv.DictReader(io.StringIO(CommaSeparated().write(rows), newline="")))
    assert [row["prompt"] for row in read] == [*(f"'{prompt}" for prompt in prompts[:-1]), prompts[-1]]
    assert (read[0]["rationale"], json.loads(read[0]["tags"])) == ("'=cmd", ["clear", "short"])
    assert (read[0]["pair_propensity"], read[0]["blind"], read[0]["target"]) == ("", "True", "0.9")
    assert CommaSeparated().write([]) == "label_id\r\n"


def test_json_lines_hold_texts_and_usages_as_they_are() -> None:
    [line] = JsonLines().write([label_row(prompt=EVIL)]).splitlines()
    record = json.loads(line)
    assert record["prompt"] == EVIL
    assert record["usage_a"] == {"base": 0.0, "math": 1.0}
    assert (record["expert_a"], record["expert_b"], record["left"]) == ("math", "base", "b")
    assert JsonLines().write([]) == ""


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
