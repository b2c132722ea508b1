"""Define the verdicts on a comparison and what they mean for training.

Every name, key and target derives from `Verdict`. A target is the probability that A is better. The seven steps from A
to B have targets from 0.975 to 0.025; "both are bad" counts as a tie, "skip" has no target.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Verdict(Enum):
    """Name what a person may say of answers A and B.

    Each has (choice, strength, target that A beats B, key, text, words on its button, arrow). `key` and `arrow` are
    keys of the keyboard, the same on every scale.
    """

    A_MUCH = ("a", 3, 0.975, "1", "A is much better", "A much", "")
    A = ("a", 2, 0.90, "2", "A is better", "A better", "←")
    A_SLIGHTLY = ("a", 1, 0.75, "3", "A is slightly better", "A slightly", "")
    TIE = ("tie", None, 0.5, "4", "Tie", "Tie", "↓")
    B_SLIGHTLY = ("b", 1, 0.25, "5", "B is slightly better", "B slightly", "")
    B = ("b", 2, 0.10, "6", "B is better", "B better", "→")
    B_MUCH = ("b", 3, 0.025, "7", "B is much better", "B much", "")
    BOTH_BAD = ("bad", None, 0.5, "0", "Both are bad", "Both bad", "")
    SKIP = ("skip", None, None, "s", "Skip: I cannot judge", "Skip", "")

    choice: str
    strength: int | None
    target: float | None
    key: str
    text: str
    button: str
    arrow: str

    def __init__(self, *values: Any) -> None:
        names = ("choice", "strength", "target", "key", "text", "button", "arrow")
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)

    @property
    def is_apart(self) -> bool:
        """Return whether the verdict prefers neither answer and does not call them equal."""
        return self.choice in ("bad", "skip")

    def is_on(self, scale: str) -> bool:
        """Return whether the scale of `seven`, `five` or `three` steps has it. Every scale has those apart."""
        if self.is_apart or scale == "seven":
            return True
        return self.strength != 3 if scale == "five" else bool(self.arrow)

    @classmethod
    def of(cls, choice: str, strength: int | None) -> "Verdict":
        """Return the verdict that is stored as (choice, strength).

        A missing strength of a or b means the middle step. Raise ValueError for an unknown pair.
        """
        wanted = strength if choice in ("a", "b") else None
        if choice in ("a", "b") and wanted is None:
            wanted = 2
        for verdict in cls:
            if (verdict.choice, verdict.strength) == (choice, wanted):
                return verdict
        raise ValueError(f"no verdict has choice {choice!r} and strength {strength!r}")

    def swapped(self) -> "Verdict":
        """Return the verdict on the same answers with A and B exchanged."""
        if self.choice not in ("a", "b"):
            return self
        return Verdict.of("b" if self.choice == "a" else "a", self.strength)


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """Hold one label as the trainer sees it.

    `usage_a` and `usage_b` (E,) are over the pool `experts`. `target` is the probability that A beats B. `weight` is
    not negative.
    """

    label_id: str
    prompt: str
    experts: tuple[str, ...]
    usage_a: np.ndarray
    usage_b: np.ndarray
    target: float
    weight: float = 1.0
