"""Measure how far a gate's weights move between two parts of one prompt that belong to different experts.

Each part gives a ratio: the mean weight of the part's expert on its own tokens, over that on the other part's tokens,
as means over layers. A gate that does not react gives 1. Text that frames the prompt counts for neither part.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from playground.encode.base import TextEncoder
from playground.errors import InvalidRequest
from playground.learn.measuring.systems import System
from playground.model.base import LanguageModel, alike
from playground.model.routing import Routing, forward
from playground.settings import ROOT

ROWS = ROOT / "data" / "bench" / "two_part.jsonl"
SMALLEST = 1e-6  # smaller weights count as this, so that no ratio is infinite


def read_two_part(path: Path = ROWS, *, split: str = "test") -> list[dict[str, str]]:
    """Return the rows of `split`: two texts, 'first' and 'second', and their experts.

    A row without a split belongs to all. GLIDER's settings were chosen on 'tune'; nothing was chosen on 'test'.
    Raise InvalidRequest for a file that cannot be read, or has no such row.
    """
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, json.JSONDecodeError) as error:
        raise InvalidRequest(f"{path} is not JSON lines: {error}.", "Give a file of two-part prompts.") from error
    chosen = [row for row in rows if row.get("split", split) == split]
    if not chosen:
        raise InvalidRequest(f"{path} has no prompt of the split {split}.", "Ask for another split, or another file.")
    return chosen


def two_part(
    base: LanguageModel, encoder: TextEncoder, systems: Mapping[str, System], rows: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return {gate: {"median_ratio", "n", "ratios"}} over the parts of all rows whose experts the gate knows.

    `n` counts parts. A gate that knows none of the experts has n 0 and no median.
    """
    gates = [system for system in systems.values() if system.gate is not None]
    found: dict[str, list[float]] = {system.name: [] for system in gates}
    for row in rows:
        text = f"{row['first']}\n\n{row['second']}"
        ids = base.chat_ids(text)
        parts = spans(base, row["first"], text)
        embedding = torch.from_numpy(encoder.encode([text])[0])
        weights = _weights(base, gates, ids, embedding)
        for index, system in enumerate(gates):
            for own, other, expert in (
                (parts[0], parts[1], row["first_expert"]),
                (parts[1], parts[0], row["second_expert"]),
            ):
                if system.gate is not None and expert in system.gate.experts:
                    of_expert = weights[index, :, system.names.index(expert)]
                    here, there = (float(of_expert[part].mean()) for part in (own, other))
                    found[system.name].append(max(here, SMALLEST) / max(there, SMALLEST))
    return {
        name: {
            "median_ratio": round(float(np.median(ratios)), 4) if ratios else None,
            "n": len(ratios),
            "ratios": [round(ratio, 4) for ratio in ratios],
        }
        for name, ratios in found.items()
    }


def spans(base: LanguageModel, first: str, text: str) -> tuple[slice, slice]:
    """Return the tokens of the two parts in the chat prompt of `text`, which begins with `first`.

    A token that holds both belongs to the second.
    """
    whole = base.chat_ids(text)
    frame, tail = base.frame
    middle = alike(base.chat_ids(first), whole)
    return slice(frame, middle), slice(middle, len(whole) - tail)


@torch.inference_mode()
def _weights(base: LanguageModel, gates: Sequence[System], ids: Sequence[int], embedding: torch.Tensor) -> np.ndarray:
    """Return weights (gates, T, N) over the bank of each gate on `ids`, as means over layers. One pass serves all."""
    routing = Routing([gate.open(len(ids), embedding) for gate in gates], len(gates[0].names))
    read = torch.tensor([list(ids)] * len(gates), device=base.model.device)
    forward(base.model.get_decoder(), routing, read, use_cache=False)
    stacked = routing.stacked(base.layers)
    if stacked is None:
        raise TypeError("a system without a gate has no weights of its own")
    return np.asarray(stacked.mean(dim=2).float().cpu().numpy())
