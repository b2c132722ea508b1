"""Writes the gates that need no training of their own: even mix, Arrow, and GLIDER, whose threshold is calibrated here.

Source of the calibration: none; the paper's threshold is for other embeddings, so ours is where telling prompts that
one card fits from those that none fits (a field that is missing, or two fields in one prompt) goes best.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from playground.core.values import Pool
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest
from playground.learn.gates.data import Owned, domains, spliced
from playground.learn.gates.measures import measure, sentence
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.subspaces import input_directions
from playground.routers.artefact import add_to_card
from playground.routers.base import ROUTERS, GateRouter, Installed
from playground.routers.gate.glider import GlobalLocalGate
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.library import SHIPPED

ROWS = 40
GRID = np.linspace(0.05, 0.8, 76)


def write_untrained(
    name: str,
    base: LanguageModel,
    bank: Bank,
    pool: Pool,
    encoder: TextEncoder,
    *,
    data: Path,
    out: Path,
    checkpoints: Path,
    local: Path | None = None,
) -> dict[str, Any]:
    """Write gate `name` over the experts of `bank` to `out`, measured as a trained one is; returns its figures.

    GLIDER takes its local vectors from the LoRA-Mixer gate in `local`. Raises InvalidRequest for a router without a
    gate, ArtefactError when that gate cannot be read.
    """
    kind = ROUTERS.get(name)
    if not issubclass(kind, GateRouter):
        raise InvalidRequest(f"{name} has no gate.", "Choose a gate.")
    began = time.monotonic()
    cards = {expert.name: expert for expert in pool.experts}
    descriptors = describe(encoder, Pool(tuple(cards[expert] for expert in bank.names)))
    installed = Installed(bank.names, descriptors, lambda: input_directions(bank, base.width))
    training, validation = domains(
        base, encoder, bank.names, data, rows=lambda expert: ROWS, limit=320, seed=0, kept=checkpoints
    )
    router = kind(bank.names, layers=base.layers, width=base.width)
    facts: dict[str, Any] = {}
    if isinstance(router.gate, GlobalLocalGate):
        two_part = spliced(base, encoder, training, count=2 * ROWS, limit=640, seed=0)
        threshold, accuracy = calibrated(descriptors, validation, two_part)
        matrix = LoraMixer.load(local or SHIPPED / "lora_mixer")
        options = router.options.model_copy(
            update={
                "threshold": threshold,
                "embedding_width": descriptors.shape[1],
                "local": round(float(_vectors(matrix).norm(dim=-1).mean()) / base.width**0.5, 3),
            }
        )
        router = kind(bank.names, options, layers=base.layers, width=base.width)
        if isinstance(router.gate, GlobalLocalGate):
            _give_vectors(router.gate, matrix, bank.names)
        facts = {"threshold_balanced_accuracy": round(accuracy, 4)}
    router.save(out)
    gate = router.gate_for(installed)
    measured = measure(gate, base, bank, validation)
    figure = sentence(measured)
    add_to_card(out, figure=figure, measured=measured, seconds=round(time.monotonic() - began, 1), **facts)
    return {"figure": figure, "measured": measured, **facts}


def _vectors(trained: LoraMixer) -> Tensor:
    return trained.gate.get_parameter("matrix")


def _give_vectors(gate: GlobalLocalGate, trained: LoraMixer, names: Sequence[str]) -> None:
    for place, expert in enumerate(names):
        if expert in trained.experts:
            gate.vectors.data[:, place] = _vectors(trained)[:, trained.experts.index(expert)]


def calibrated(
    descriptors: np.ndarray, validation: Mapping[str, Sequence[Owned]], two_part: Sequence[Owned]
) -> tuple[float, float]:
    """(threshold, balanced accuracy): the best cosine tells a prompt that one card fits from one that none does: the
    same prompt with its expert taken out, or two experts' prompts in one."""
    inside = []
    outside = [float((descriptors @ owned.embedding.numpy()).max()) for owned in two_part]
    for rows in validation.values():
        for owned in rows:
            cosines = descriptors @ owned.embedding.numpy()
            inside.append(cosines.max())
            outside.append(np.delete(cosines, owned.expert).max())
    scores = [
        (float(np.mean(np.array(inside) >= value)) + float(np.mean(np.array(outside) < value))) / 2 for value in GRID
    ]
    best = int(np.argmax(scores))
    return round(float(GRID[best]), 3), scores[best]
