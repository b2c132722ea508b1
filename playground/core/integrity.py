"""Decide which votes count, in the open: an excluded vote is kept, and everybody is told why it does not count.

A check that cannot be made says "unknown", and an unknown vote counts. Nobody's vote is dropped on a guess.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from playground.core.records import LabelRow

WINDOW, MOST_WRONG = 6, 3  # of somebody's last six known-answer checks, three wrong ones
LEAST_CHECKS = 3
REPEAT = "a hidden repeat: it measures agreement, and the first vote counts"
CHECK = "a comparison with a known answer: it checks attention"
INATTENTIVE = "three of the labeller's last six known-answer checks were wrong"
RECENT = 50  # votes whose share of excluded ones is held against the share before
ALARM_Z = 3.0


@dataclass(frozen=True)
class VoteStanding:
    """Say whether a vote counts, why not, and whether its labeller's attention is `good`, `bad` or `unknown`."""

    counts: bool
    reason: str = ""
    attention: str = "unknown"


@dataclass(frozen=True)
class Integrity:
    """Count the votes that count and those that do not, by reason. `alarm` is a sentence, or empty."""

    votes: int
    excluded: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    attention: Mapping[str, int] = field(default_factory=dict)
    alarm: str = ""


def is_right(row: LabelRow) -> bool | None:
    """Return whether a vote on a known answer is right. None when it is no such vote, or was skipped."""
    if row.selection != "check" or row.check_answer is None or row.verdict.choice == "skip":
        return None
    return row.verdict.choice == row.check_answer


def standings(rows: Sequence[LabelRow]) -> dict[str, VoteStanding]:
    """Return the standing of each vote by its label's id. `rows` are all votes in force, in any order.

    A vote is judged by the checks that its labeller had taken until then, so that no early vote falls for a later one.
    """
    taken: dict[str, list[bool]] = {}
    found = {}
    for row in sorted(rows, key=lambda row: row.label_id):
        right = is_right(row)
        if right is not None:
            taken.setdefault(row.labeller_id, []).append(right)
        attention = _attention(taken.get(row.labeller_id, []))
        reason = {"duplicate": REPEAT, "check": CHECK}.get(row.selection, INATTENTIVE if attention == "bad" else "")
        found[row.label_id] = VoteStanding(not reason, reason, attention)
    return found


def measured(rows: Sequence[LabelRow]) -> Integrity:
    """Return how many of the votes count, and an alarm when the share of excluded ones has moved lately."""
    found = standings(rows)
    ordered = [found[key] for key in sorted(found)]
    people = {row.labeller_id: found[row.label_id].attention for row in sorted(rows, key=lambda row: row.label_id)}
    reasons = Counter(one.reason for one in ordered if not one.counts)
    excluded = [not one.counts for one in ordered]
    return Integrity(len(ordered), sum(excluded), dict(reasons), dict(Counter(people.values())), _alarm(excluded))


def _attention(checks: Sequence[bool]) -> str:
    last = checks[-WINDOW:]
    if last.count(False) >= MOST_WRONG:
        return "bad"
    return "good" if len(last) >= LEAST_CHECKS else "unknown"


def _alarm(excluded: Sequence[bool]) -> str:
    """Compare the last votes with those before by the z of two proportions. Too few votes raise no alarm."""
    before, recent = excluded[:-RECENT], excluded[-RECENT:]
    if len(before) < RECENT:
        return ""
    shares = sum(before) / len(before), sum(recent) / len(recent)
    pooled = sum(excluded) / len(excluded)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(recent)))
    if deviation == 0 or abs(shares[1] - shares[0]) < ALARM_Z * deviation:
        return ""
    moved = "rose" if shares[1] > shares[0] else "fell"
    return f"The share of excluded votes {moved} from {shares[0]:.0%} to {shares[1]:.0%} in the last {RECENT} votes."
