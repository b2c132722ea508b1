"""A label as the store hands it out, made without a database."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from playground.core.preferences import Verdict
from playground.store.label_views import LabelRow, Side

EXPERTS = ("base", "math")


def side(name: str, text: str) -> Side:
    """Return an answer that one expert wrote alone."""
    usage = np.array([name == expert for expert in EXPERTS], np.float32)
    return Side(f"run-{name}", text, "linear", "linear-shipped-0badf00d", EXPERTS, usage)


def label_row(number: int = 1, **fields: Any) -> LabelRow:
    """Return a vote for the answer of `math`, changed by `fields`."""
    values: dict[str, Any] = {
        "label_id": f"label-{number}",
        "comparison_id": f"comparison-{number}",
        "created_at": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        "labeller_id": "me",
        "labeller": "labeller-1",
        "verdict": Verdict.of("a", 2),
        "prompt": "What is 2 + 2?",
        "a": side("math", "Four."),
        "b": side("base", "Five."),
        "left": "b",
        "selection": "uniform",
        "pair_propensity": None,
        "source": "human",
        "source_detail": {},
        "revealed_before": False,
        "blind": True,
        "lead_ms": 9000,
        "rationale": "",
        "tags": (),
    }
    return LabelRow(**{**values, **fields})
