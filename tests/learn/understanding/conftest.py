"""Votes and labels of planted worlds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from playground.core.preferences import Verdict
from playground.core.records import LabelRow
from playground.learn.understanding.votes import STYLES, Votes
from tests.label_rows import label_row, side

START = datetime(2025, 1, 1, tzinfo=UTC)
VERDICTS = (Verdict.A, Verdict.TIE, Verdict.B)


def votes(triples: list[tuple[int, int, int]], **changes: Any) -> Votes:
    """Votes from (first, second, outcome); each is of a person and a prompt of its own unless `changes` says."""
    first, second, outcome = np.array(triples, int).reshape(-1, 3).T
    count = len(triples)
    values: dict[str, Any] = {
        "first": first,
        "second": second,
        "outcome": outcome,
        "people": np.arange(count),
        "prompts": np.arange(count),
        "categories": np.array(["other"] * count, object),
        "style": np.zeros((count, len(STYLES))),
        "time": np.arange(count, dtype=float),
        "excluded": {},
    }
    size = int(max(first.max(initial=0), second.max(initial=0))) + 1
    return Votes(tuple("abcdefgh"[:size]), **{**values, **changes})


def tallied(pairs: dict[tuple[int, int], tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(first, second, outcome) of every vote from {(i, j): (wins, ties, losses)}."""
    return [
        (first, second, outcome)
        for (first, second), counts in pairs.items()
        for outcome, count in enumerate(counts)
        for _ in range(count)
    ]


def planted(
    scores: list[float], count: int, *, tie: float = 0.5, seed: int = 0, people: int = 20, prompts: int = 50
) -> Votes:
    """Votes drawn from Davidson's model with these scores and this weight of a tie."""
    rng = np.random.default_rng(seed)
    first, second = np.array([rng.choice(len(scores), 2, replace=False) for _ in range(count)]).T
    difference = np.array(scores)[first] - np.array(scores)[second]
    heights = np.stack([np.exp(difference / 2), np.full(count, tie), np.exp(-difference / 2)], axis=1)
    chances = heights / heights.sum(axis=1, keepdims=True)
    outcome = (rng.random(count)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    return votes(
        list(zip(first, second, outcome, strict=True)),
        people=rng.integers(0, people, count),
        prompts=rng.integers(0, prompts, count),
    )


def rows_of(made: Votes, **fields: Any) -> list[LabelRow]:
    """The labels that `votes_of` reads these votes from."""
    return [
        label_row(
            place,
            a=side_of(made.names[made.first[place]]),
            b=side_of(made.names[made.second[place]]),
            verdict=VERDICTS[made.outcome[place]],
            labeller_id=f"person {made.people[place]}",
            prompt=f"prompt {made.prompts[place]}",
            created_at=START + timedelta(hours=float(made.time[place])),
            **fields,
        )
        for place in range(len(made))
    ]


def side_of(name: str) -> Any:
    made = side("base", f"{name} says so.")
    return type(made)(f"run-{name}", made.text, f"router-{name}", f"version-{name}", (name,), np.ones(1, np.float32))
