"""Rank experts, routers and versions by their labels, and say how far people agree. Totals only.

A board shows nobody's vote and no side of an open comparison, so everybody may read it.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from playground.actions.database import opened
from playground.actions.imports import labels_of_file
from playground.core.records import LabelRow
from playground.errors import InvalidRequest, StorageError
from playground.exchange.records import cell, csv_text
from playground.settings import Settings
from playground.store.database import Database
from playground.store.label_views import count_labels, current_labels

if TYPE_CHECKING:
    from playground.learn.understanding.agreement import Agreement
    from playground.learn.understanding.board import Board, Standing, TooFew
    from playground.learn.understanding.people import People

log = logging.getLogger(__name__)
ENTITIES = ("expert", "router", "version")
SOURCES = {"human": "people", "judge": "judge", "import": "import"}
COLUMNS = ("rank", "name", "rating", "low", "high", "votes", "wins", "ties", "losses", "best", "without_ties")
CONTROLLED = ("controlled", "controlled_low", "controlled_high", "provisional", "group")
KEPT = 12
MIN_VOTES = 10
SURE = 0.01
_kept: dict[tuple[Any, ...], Any] = {}
_keeping = threading.Lock()


def board(database: Database, entity: str, source: str = "human") -> "Board | TooFew":
    """Return the board of `entity` from the labels of `source`, or how many votes are missing.

    It is kept until a label comes or goes. Raise InvalidRequest for an unknown entity or source.
    """
    entity, source = _known(entity, ENTITIES, "board"), _known(source, tuple(SOURCES), "source of labels")
    found: Board | TooFew = _kept_or(database, entity, source, lambda rows: board_of_rows(rows, entity, source))
    return found


def agreement(database: Database, source: str = "human") -> "Agreement":
    """Return how far the people behind the labels of `source` agree. It is kept until a label comes or goes."""
    source = _known(source, tuple(SOURCES), "source of labels")
    found: Agreement = _kept_or(database, "agreement", source, lambda rows: people_of_rows(rows, source).agreement)
    return found


def _kept_or(database: Database, what: str, source: str, make: Callable[[Sequence[LabelRow]], Any]) -> Any:
    with database.read() as session:
        newest = current_labels(session, limit=1)
        state = (newest[0].label_id if newest else "", *sorted(count_labels(session).items()))
        key = (str(database.url), what, source, state)
        if key in _kept:
            return _kept[key]
        rows = current_labels(session, source=source, oldest_first=True)
    found = make(rows)
    with _keeping:
        _kept[key] = found
        while len(_kept) > KEPT:
            _kept.pop(next(iter(_kept)))
    return found


def board_of_rows(rows: Sequence[LabelRow], entity: str, source: str) -> "Board | TooFew":
    """Return the board of labels that were read already."""
    from playground.learn.understanding.board import board_of  # noqa: PLC0415  (imports scipy: half a second)

    return board_of(rows, _known(entity, ENTITIES, "board"), source=source)  # type: ignore[arg-type]


def people_of_rows(rows: Sequence[LabelRow], source: str) -> "People":
    """Return agreement and reliability of labels that were read already."""
    from playground.learn.understanding.people import people_of  # noqa: PLC0415  (imports scikit-learn: a second)

    return people_of(rows, source=source)


def rows_for(settings: Settings, source: str, path: Path | None, format_name: str = "") -> tuple[list[LabelRow], str]:
    """Return (labels of a file, or those of the database, their source). Labels of a file keep the source it gives.

    Raise InvalidRequest for an unknown source or a file that cannot be read.
    """
    if path is not None:
        rows = labels_of_file(path, format_name)
        there = {row.source for row in rows}
        return rows, source if source in there else next(iter(there))
    source = _known(source, tuple(SOURCES), "source of labels")
    with opened(settings) as database, database.read() as session:
        return current_labels(session, source=source, oldest_first=True), source


def is_board(found: "Board | TooFew") -> "TypeGuard[Board]":
    """Return whether there were enough votes for a board."""
    return hasattr(found, "standings")


def standings_table(found: "Board") -> list[dict[str, Any]]:
    """Return a flat dictionary for each line of the board, the best first."""
    return [_line(standing) for standing in found.standings]


def board_csv(found: "Board") -> str:
    """Return the standings as the text of a CSV file that is safe for spreadsheets."""
    rows = standings_table(found)
    return csv_text([list(rows[0]), *([cell(value) for value in row.values()] for row in rows)])


def write_board(found: "Board", path: Path) -> None:
    """Write the standings to a CSV file. Raise StorageError."""
    try:
        path.write_bytes(board_csv(found).encode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error


def remarks(found: "Board | TooFew") -> list[str]:
    """Return what the board hides, a sentence each, for people who read ratings. Or how many votes are missing."""
    if not is_board(found):
        return [f"There are {found.votes} votes that count, and a board needs {MIN_VOTES}.", *_left_out(found.excluded)]
    told = found.ties_compared.sentences
    right, low, high = found.accuracy
    told.append(f"The ratings foresee {right:.0%} of the decided votes on other prompts [{low:.0%}, {high:.0%}].")
    if found.ceiling.people:
        told.append(f"People follow the majority of the others on the same answers in {found.ceiling.people[0]:.0%}.")
    if found.ceiling.pairs:
        told.append(f"No fixed order of each pair could foresee more than {found.ceiling.pairs[0]:.0%} of these votes.")
    told.append(f"Predicted chances are off by {found.calibration.error:.1%} on average.")
    told.append(found.confounding.sentence)
    if found.cycles.p < SURE:
        told.append(f"No score explains {found.cycles.share:.0%} of the preferences.")
        if found.cycles.worst:
            a, b, c, share = found.cycles.worst
            told.append(f"A cycle: {a} beats {b}, {b} beats {c}, {c} beats {a}, each in {share:.0%} or more.")
    else:
        told.append("One score for each explains the preferences: no cycle beyond chance.")
    if found.drift.p < SURE:
        told.append(
            f"The early and the late half of the votes differ beyond chance: {found.drift.moved} moved most, "
            f"by {found.drift.points:+.0f} points."
        )
    if found.groups > 1:
        told.append(f"The board has {found.groups} groups that no vote connects. Compare ratings within a group only.")
    return told + _left_out(found.excluded)


def _left_out(excluded: dict[str, int]) -> list[str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(excluded.items()))
    return [f"{sum(excluded.values())} labels do not count: {reasons}."] if excluded else []


def board_json(found: "Board | TooFew") -> dict[str, Any]:
    """Return everything that a board holds as JSON-ready values."""
    plain: dict[str, Any] = _plain(found) | {"remarks": remarks(found)}
    if is_board(found):
        plain["standings"] = standings_table(found)
        plain["confounding"] |= {
            "sentence": found.confounding.sentence,
            "is_telling": bool(found.confounding.is_telling),
        }
    return plain


def people_json(found: "People") -> dict[str, Any]:
    """Return agreement and readers as JSON-ready values."""
    plain: dict[str, Any] = _plain(found)
    for shown, reader in zip(plain["readers"], found.readers, strict=True):
        shown["is_inverted"] = reader.is_inverted
    return plain | {"inverted": found.inverted}


def _line(standing: "Standing") -> dict[str, Any]:
    values = dataclasses.asdict(standing) | {"provisional": standing.is_provisional}
    whole = {"rank", "votes", "wins", "ties", "losses", "group", "name", "provisional"}
    return {
        name: values[name] if name in whole else round(float(values[name]), 3 if name == "best" else 1)
        for name in (*COLUMNS, *CONTROLLED)
    }


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        raise InvalidRequest(f"No {what} is called {str(name)[:20]!r}.", f"Choose one of: {', '.join(names)}.")
    return name


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value.isoformat() if isinstance(value, datetime) else value
