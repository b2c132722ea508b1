"""Write labels as JSON lines, for programs: nothing is left out or changed."""

from collections.abc import Sequence

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, ParsedRow, exchange_format
from playground.exchange.containers import read_json, write_lines
from playground.exchange.record import parsed
from playground.exchange.records import COLUMNS, as_records


@exchange_format("jsonl", title="JSONL", ending=".jsonl", is_table=False)
class JsonLines(ExchangeFormat):
    """Write one JSON object for each label."""

    carries = frozenset(COLUMNS)

    def write(self, rows: Sequence[LabelRow]) -> bytes:
        """Return the lines. Characters outside ASCII are not escaped."""
        return write_lines(as_records(rows))

    def read(self, data: bytes) -> list[ParsedRow]:
        """Return every row of JSON lines or of one JSON list."""
        return parsed(read_json(data), dict)
