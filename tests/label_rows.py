"""A label as the store hands it out, made without a database."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st

from playground.core.preferences import Verdict
from playground.core.records import LabelRow, Side

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


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.sampled_from(EXPERTS)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@st.composite
def labels(draw: st.DrawFn) -> LabelRow:
    """Any label that can stand in the database."""
    shares = draw(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2))
    usage = np.array(shares, np.float32) / max(sum(shares), 1.0)
    blended = Side("run-3", draw(TEXTS), "knn", "knn-1", EXPERTS, usage)
    return label_row(
        draw(st.integers(1, 99)),
        created_at=draw(TIMES),
        labeller=draw(st.sampled_from(["0a1b2c3d", "Zoë"])),
        verdict=draw(st.sampled_from(list(Verdict))),
        prompt=draw(TEXTS.filter(bool)),
        a=draw(st.just(blended) | st.builds(side, NAMES, TEXTS)),
        b=draw(st.builds(side, NAMES, TEXTS)),
        left=draw(st.sampled_from("ab")),
        pair_propensity=draw(st.none() | st.floats(0.001, 1)),
        source_detail=draw(st.dictionaries(st.sampled_from("xy"), st.integers())),
        revealed_before=draw(st.booleans()),
        blind=draw(st.booleans()),
        rationale=draw(TEXTS),
        tags=tuple(draw(st.lists(TEXTS, max_size=2))),
        category=draw(TEXTS),
    )
