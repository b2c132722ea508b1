"""Write labels as comma-separated values, for spreadsheets and data frames. Source: RFC 4180.

Nothing is lost: cells that a spreadsheet would run get an apostrophe in front, and reading takes it away again.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playground.core.records import LabelRow
from playground.errors import InvalidRequest
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import decoded
from playground.exchange.record import LabelRecord, json_cell, parsed
from playground.exchange.records import COLUMNS, as_records, cell, csv_text, unsafe_text

JSON_COLUMNS: dict[str, Any] = {"usage_a": {}, "usage_b": {}, "source_detail": {}, "tags": []}


@exchange_format("csv", title="CSV", ending=".csv", is_table=True)
class CommaSeparated(ExchangeFormat):
    """Write a header and one row for each label."""

    carries = frozenset(COLUMNS)

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the table. A cell that a spreadsheet would run as a formula gets an apostrophe in front."""
        records = as_records(rows)
        return csv_text([COLUMNS, *([cell(value) for value in record.values()] for record in records)]).encode()

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every row. The first line names the columns; `line` is where a row ends in the file."""
        return parsed(_rows(decoded(data)), _record)


def _rows(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    csv.field_size_limit(2**31 - 1)
    try:
        heading = next(reader, [])
        missing = {"prompt", "answer_a", "answer_b", "choice"} - set(heading)
        if missing:
            raise InvalidRequest(f"The table has no column {', '.join(sorted(missing))}.", "Name it in the first line.")
        for row in reader:
            if len(row) != len(heading):
                yield reader.line_num, ValueError(f"it has {len(row)} cells where the first line names {len(heading)}")
            else:
                yield reader.line_num, dict(zip(heading, row, strict=True))
    except csv.Error as error:
        raise InvalidRequest(
            f"Line {reader.line_num} of the table is broken: {error}.", "Save it as CSV again."
        ) from error


def _record(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the record of a row. An empty cell of a number or a date means that nothing was given."""
    known = {name: unsafe_text(row[name]) for name in LabelRecord.model_fields if name in row}
    texts = {name for name, field in LabelRecord.model_fields.items() if field.annotation is str}
    record: dict[str, Any] = {name: value for name, value in known.items() if value or name in texts - {"labeller"}}
    return record | {name: json_cell(known.get(name, ""), empty) for name, empty in JSON_COLUMNS.items()}
