"""Export a stored run as JSON with full precision or as CSV with a row per token, and labels in every known format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.actions.database import opened
from playground.actions.runs import events_of
from playground.core.events import events_to_json
from playground.core.fold import ViewState, fold_all
from playground.core.records import LabelRow
from playground.core.route_measures import consent, entropy, overlap, switches
from playground.errors import InvalidRequest, StorageError
from playground.exchange.base import FORMATS, format_of, losses
from playground.exchange.records import as_records, csv_text, safe_text
from playground.settings import Settings
from playground.store.label_views import current_labels

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

RUN_KINDS = ("json", "csv")


def _turns(weights: list[np.ndarray]) -> list[int]:
    """Return 1 where another expert leads than at the token before, else 0."""
    return switches(np.stack(weights)).astype(int).tolist() if weights else []


def _measures(layered: np.ndarray | None) -> list[str]:
    """Return entropy in nats, agreement of layers and share of leading layers of a token. Empty without a gate."""
    if layered is None:
        return ["", "", ""]
    values = layered.astype(np.float64)
    return [f"{float(value):.6g}" for value in (entropy(values).mean(), overlap(values), consent(values))]


def run_csv(state: ViewState) -> str:
    """Return a row per token: text, probabilities, weights, measures of the layers, and whether the lead changed.

    When a gate weighed the prompt, the prompt's tokens (`p1`, …) come first.
    """
    names = ["routing_entropy", "layer_agreement", "leading_layers", "switch"]
    table: list[list[Any]] = [["token", "text", "logprob", "entropy", *map(safe_text, state.pool), *names]]
    read = state.prompt_read
    if read is not None and read.layer_weights is not None:
        mean = read.layer_weights.astype(np.float32).mean(axis=1)
        for i, turn in enumerate(_turns(list(mean))):
            weights = [f"{float(weight):.8g}" for weight in mean[i]]
            measures = _measures(read.layer_weights[i])
            table.append([f"p{i + 1}", safe_text(read.tokens[i]), "", "", *weights, *measures, turn])
    for token, turn in zip(state.tokens, _turns([token.weights for token in state.tokens]), strict=True):
        weights = [f"{float(weight):.8g}" for weight in token.weights]
        row = [token.index + 1, safe_text(token.text), f"{token.logprob:.6g}", f"{token.entropy:.6g}", *weights]
        table.append([*row, *_measures(token.layer_weights), turn])
    return csv_text(table)


def export_run(runtime: "Runtime", run_id: str, kind: str) -> str:
    """Return a stored run as the text of a file. Raise InvalidRequest for another kind or an unknown run."""
    if kind not in RUN_KINDS:
        raise InvalidRequest(f"A run cannot be exported as {kind[:20]!r}.", f"Choose {' or '.join(RUN_KINDS)}.")
    events = events_of(runtime, run_id)
    if kind == "csv":
        return run_csv(fold_all(events))
    return events_to_json(events)


def label_formats() -> list[tuple[str, str]]:
    """Return (ending, title) of every format that labels can be exported in."""
    kinds = [FORMATS.get(name) for name in FORMATS]
    return [(kind.ending, kind.title) for kind in kinds]


def export_labels(rows: Sequence[LabelRow], file_name: str) -> bytes:
    """Return labels in the format that the ending of `file_name` asks for. Raise InvalidRequest for an unknown one."""
    return format_of(file_name).write(rows)


@dataclass(frozen=True)
class Exported:
    """Say how many labels a file holds, and in sentences what it lacks."""

    labels: int
    warnings: tuple[str, ...]


def write_labels(settings: Settings, path: Path) -> Exported:
    """Write every label in force to a file; return how many. Raise InvalidRequest, StorageError."""
    form = format_of(path.name)  # refuse an unknown ending before reading anything
    with opened(settings) as database, database.read() as session:
        rows = current_labels(session)
    try:
        path.write_bytes(form.write(rows))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error
    return Exported(sum(form.holds(row) for row in rows), tuple(losses(form, rows)))


def labels_json(rows: Sequence[LabelRow]) -> dict[str, Any]:
    """Return labels as JSON-ready values."""
    return {"labels": as_records(rows)}
