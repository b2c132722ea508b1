"""Write labels as JSON lines, for programs: nothing is left out or changed."""

import json
from collections.abc import Sequence

from playground.core.records import LabelRow
from playground.exchange.base import ExchangeFormat, exchange_format
from playground.exchange.records import as_records


@exchange_format("jsonl", title="JSONL", ending=".jsonl", is_table=False)
class JsonLines(ExchangeFormat):
    """Write one JSON object for each label."""

    def write(self, rows: Sequence[LabelRow]) -> str:
        """Return the lines. Characters outside ASCII are not escaped."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in as_records(rows))
