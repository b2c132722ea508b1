"""Say of a set of labels how far its people agree, and how reliable each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from playground.core.records import LabelRow
from playground.core.statistics import wilson_interval
from playground.learn.understanding.agreement import Agreement, agreement_of, ratings_of
from playground.learn.understanding.reliability import crowd_strengths, dawid_skene
from playground.learn.understanding.votes import OUTCOMES, votes_of

FEW_LABELS = 20  # of a person, below which a reliability says little


@dataclass(frozen=True)
class Reader:
    """Hold one labeller: labels, how often another one agrees, accuracy by Dawid-Skene, eta by crowd Bradley-Terry.

    `decided` counts the votes behind eta. `agreement` is None for somebody whose comparisons nobody else judged, `eta`
    for somebody without decided votes.
    """

    labeller: str
    labels: int
    agreement: float | None
    accuracy: float
    eta: float | None
    decided: int

    @property
    def is_provisional(self) -> bool:
        """Return whether there are too few labels to rely on."""
        return self.labels < FEW_LABELS

    @property
    def is_inverted(self) -> bool:
        """Return whether the person surely reads the wrong way round more often than not."""
        return self.eta is not None and wilson_interval(self.eta * self.decided, self.decided)[1] < 0.5


@dataclass(frozen=True)
class People:
    """Hold the agreement of people and each reader, the one with most labels first."""

    agreement: Agreement
    readers: tuple[Reader, ...]

    @property
    def inverted(self) -> int:
        """Return how many people read the wrong way round."""
        return sum(reader.is_inverted for reader in self.readers)


def people_of(rows: Sequence[LabelRow], *, source: str = "human") -> People:
    """Return how the people behind the labels of `source` agree, and how reliable each one is."""
    told = [row for row in rows if row.source == source and row.verdict.choice in OUTCOMES]
    told = [row for row in told if row.selection not in ("check", "duplicate")]
    ratings = ratings_of(told)
    names = list(dict.fromkeys(row.labeller_id for row in told))
    shown = {row.labeller_id: row.labeller for row in told}
    skills = dawid_skene(ratings)
    votes = votes_of(told, "expert", source=source)
    voters = list(dict.fromkeys(row.labeller_id for row in told if _is_vote(row)))
    etas = crowd_strengths(votes)
    eta_of = {name: (float(etas.eta[at]), int(etas.votes[at])) for at, name in enumerate(voters) if etas.votes[at]}
    readers = [
        Reader(
            shown[name],
            int(skills.votes[at]),
            _followed(ratings, at),
            float(skills.accuracy[at]),
            *eta_of.get(name, (None, 0)),
        )
        for at, name in enumerate(names)
    ]
    return People(agreement_of(told), tuple(sorted(readers, key=lambda reader: -reader.labels)))


def _is_vote(row: LabelRow) -> bool:
    """Return whether `votes_of` counts the label, so that the codes of people are the same."""
    known = row.revealed_before or not row.blind
    return not known and bool(row.a.expert and row.b.expert) and row.a.expert != row.b.expert


def _followed(ratings: np.ndarray, at: int) -> float | None:
    """Return how often this person's rating is that of another one, averaged over the items that others rated."""
    others = np.delete(ratings, at, axis=0)
    there = ~np.isnan(others)
    shared = ~np.isnan(ratings[at]) & there.any(axis=0)
    if not shared.any():
        return None
    same = (others == ratings[at]) & there
    return float((same[:, shared].sum(axis=0) / there[:, shared].sum(axis=0)).mean())
