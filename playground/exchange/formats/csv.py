"""Write labels as comma-separated values, for spreadsheets and data frames. Source: RFC 4180."""

from collections.abc import Sequence

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, exchange_format
from playground.exchange.records import as_records, cell, csv_text


@exchange_format("csv", title="CSV", ending=".csv", is_table=True)
class CommaSeparated(ExchangeFormat):
    """Write a header and one row for each label."""

    def write(self, rows: Sequence[LabelRow]) -> str:
        """Return the table. A cell that a spreadsheet would run as a formula gets an apostrophe in front."""
        records = as_records(rows)
        heading = list(records[0]) if records else ["label_id"]
        return csv_text([heading, *([cell(value) for value in record.values()] for record in records)])
