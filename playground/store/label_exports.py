"""Labels as text for other programs: flat records, JSON lines, CSV that no spreadsheet runs.

Source of the CSV rule: OWASP, "CSV Injection".
"""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from playground.store.label_views import LabelRow, Side

FORMULA_STARTS = ("=", "+", "-", "−", "@", "\t", "\r")


def as_records(rows: Iterable[LabelRow]) -> list[dict[str, Any]]:
    """One flat JSON-ready dictionary per label: what the table on the page, the CSV and the JSON lines hold."""
    return [
        {
            "label_id": row.label_id,
            "created_at": row.created_at.isoformat(),
            "labeller": row.labeller,
            "choice": row.verdict.choice,
            "strength": row.verdict.strength,
            "target": row.verdict.target,
            "prompt": row.prompt,
            "answer_a": row.a.text,
            "answer_b": row.b.text,
            "expert_a": row.a.expert,
            "expert_b": row.b.expert,
            "router_a": row.a.router,
            "router_b": row.b.router,
            "version_a": row.a.version,
            "version_b": row.b.version,
            "usage_a": _usage(row.a),
            "usage_b": _usage(row.b),
            "left": row.left,
            "selection": row.selection,
            "pair_propensity": row.pair_propensity,
            "source": row.source,
            "source_detail": row.source_detail,
            "revealed_before": row.revealed_before,
            "blind": row.blind,
            "lead_ms": row.lead_ms,
            "rationale": row.rationale,
            "tags": list(row.tags),
            "comparison_id": row.comparison_id,
            "run_a": row.a.run_id,
            "run_b": row.b.run_id,
        }
        for row in rows
    ]


def export_jsonl(rows: Iterable[LabelRow]) -> str:
    """JSON lines in UTF-8, one label each, with everything that `as_records` gives."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in as_records(rows))


def export_csv(rows: Iterable[LabelRow]) -> str:
    """RFC 4180 text. A cell that a spreadsheet would run as a formula gets a leading apostrophe."""
    records = as_records(rows)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(records[0] if records else ["label_id"])
    for record in records:
        writer.writerow([_cell(value) for value in record.values()])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA_STARTS):
        return "'" + value
    return "" if value is None else value


def _usage(side: Side) -> dict[str, float]:
    return {name: round(float(share), 6) for name, share in zip(side.experts, side.usage, strict=True)}
