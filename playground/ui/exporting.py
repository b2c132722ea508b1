"""A stored run as a file: JSON with full precision, or CSV with a row per token. Plus a layer's attention on demand."""

import base64
import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.core.events import events_to_json
from playground.core.fold import ViewState, fold_all
from playground.errors import InvalidRequest, PlaygroundError
from playground.store.runs import load_events
from playground.ui.trouble import told

if TYPE_CHECKING:
    from playground.runtime import Runtime

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def _cell(text: str) -> str:
    """Spreadsheets run cells that begin like a formula; a quote in front keeps them text."""
    return "'" + text if text.lstrip(" \n").startswith(FORMULA_SIGNS) else text


def run_csv(state: ViewState) -> str:
    """A row per token: index, text, log-probability, entropy and the weight of each expert."""
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(["token", "text", "logprob", "entropy", *state.pool])
    for token in state.tokens:
        weights = [f"{float(weight):.8g}" for weight in token.weights]
        table.writerow([token.index + 1, _cell(token.text), f"{token.logprob:.6g}", f"{token.entropy:.6g}", *weights])
    return out.getvalue()


def exported(runtime: "Runtime", run_id: str, kind: str) -> str:
    """The text of a stored run as `json` or `csv`. Raises InvalidRequest for another kind or an unknown run."""
    if kind not in ("json", "csv"):
        raise InvalidRequest(f"There is no export as {kind!r}.", "Choose json or csv.")
    with runtime.database.read() as session:
        events = load_events(session, run_id)
    if kind == "csv":
        return run_csv(fold_all(events))
    return events_to_json(events)


def server_functions(runtime: "Runtime") -> list[Any]:
    """What the run view may ask for by itself. The arguments come from the browser, so they are checked here."""

    def attention(asked: Any) -> dict[str, Any]:
        """All heads of one layer of a stored run: (H, T, T) as bytes."""
        try:
            run_id, layer = str(asked["run"])[:64], int(asked["layer"])
            heads, tokens = runtime.attention(run_id, layer)
        except (KeyError, TypeError, ValueError):
            return {"error": "That layer is not in this run."}
        except PlaygroundError as error:
            return {"error": " ".join(told(error)).strip()}
        data = base64.b64encode(np.rint(np.clip(heads.astype(np.float32), 0, 1) * 255).astype(np.uint8).tobytes())
        return {"heads": heads.shape[0], "size": heads.shape[1], "tokens": tokens, "data": data.decode()}

    def export_run(asked: Any) -> dict[str, Any]:
        """A stored run as the text of a file."""
        try:
            return {"text": exported(runtime, str(asked["run"])[:64], str(asked["kind"]))}
        except (KeyError, TypeError):
            return {"error": "Say which run."}
        except PlaygroundError as error:
            return {"error": " ".join(told(error)).strip()}

    return [attention, export_run]
