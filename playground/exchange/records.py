"""Make flat records of labels, and texts that no spreadsheet runs: what several formats share.

Source of the rule for cells: OWASP, "CSV Injection".
"""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from playground.core.records import LabelRow, Side

FORMULA_STARTS = ("=", "+", "-", "−", "@")
LINE_STARTS = ("\t", "\r")  # some spreadsheets drop them, and run what follows
BYTE_ORDER_MARK = "\ufeff"  # by it Excel knows that a file is UTF-8


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows of finished cells as the text of a CSV file: RFC 4180, with a byte-order mark for Excel."""
    out = io.StringIO(newline="")
    out.write(BYTE_ORDER_MARK)
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


COLUMNS = (
    *("label_id", "created_at", "labeller", "choice", "strength", "target", "prompt", "answer_a", "answer_b"),
    *("expert_a", "expert_b", "router_a", "router_b", "version_a", "version_b", "usage_a", "usage_b", "left"),
    *("selection", "pair_propensity", "source", "source_detail", "revealed_before", "blind", "lead_ms", "rationale"),
    *("tags", "comparison_id", "run_a", "run_b", "category"),
)


def as_records(rows: Iterable[LabelRow]) -> list[dict[str, Any]]:
    """Return one flat JSON-ready dictionary for each label: the values of `COLUMNS`, in their order."""
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
            "category": row.category,
        }
        for row in rows
    ]


def cell(value: Any) -> Any:
    """Return a record's value as a table holds it: JSON for lists and dictionaries, nothing for None, safe text."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return safe_text(value)
    return "" if value is None else value


def safe_text(text: str) -> str:
    """Return `text` with an apostrophe in front when a spreadsheet would run it as a formula.

    Spaces and characters that nobody sees may stand before the formula, and its first sign may be a wide or small one.
    A text that could be taken for one with an apostrophe gets a second one, so that `unsafe_text` gives it back.
    """
    return "'" + text if _is_formula(text.lstrip("'")) else text


def unsafe_text(text: str) -> str:
    """Return the text that `safe_text` was given."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    start = text.lstrip(" \n")
    sign = next((char for char in text if not _is_unseen(char)), "")
    return unicodedata.normalize("NFKC", sign).startswith(FORMULA_STARTS) or start.startswith(LINE_STARTS)


def _is_unseen(char: str) -> bool:
    """Return whether a character is a space, a control or a format character."""
    return unicodedata.category(char)[0] in "ZC"


def _usage(side: Side) -> dict[str, float]:
    """Return the shares by expert, each as the shortest number that is the same float32."""
    return {name: float(str(np.float32(share))) for name, share in zip(side.experts, side.usage, strict=True)}
