"""Measure a gate on held-out rows of every expert's field, beside the base, the even mix and the right expert."""

from collections.abc import Mapping, Sequence

import torch

from playground.core.statistics import mean_interval
from playground.learn.gates.data import Owned
from playground.learn.losses import padded, row_losses
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, read_first, routed
from playground.routers.base import Gate

MEASURED_ROWS = 8


def sentence(measured: dict[str, dict[str, float]]) -> str:
    """Return the figures of `measure` as the sentence of a card."""
    losses = {system: values["mean"] for system, values in measured.items()}
    return (
        f"answer loss on held-out rows of all domains: base {losses['base']:.3f}, even mix {losses['uniform']:.3f}, "
        f"this gate {losses['gate']:.3f}, right expert {losses['oracle']:.3f} nats per token"
    )


@torch.inference_mode()
def measure(
    gate: Gate, base: LanguageModel, bank: Bank, validation: Mapping[str, Sequence[Owned]]
) -> dict[str, dict[str, float]]:
    """Return the answer loss of base, even mix, gate and right expert: mean, low, high over rows, nats per token."""
    size = len(bank)
    columns = None
    if tuple(gate.experts) != bank.names:
        columns = torch.tensor([bank.names.index(expert) for expert in gate.experts])
    one_hot = torch.eye(size)
    results: dict[str, list[float]] = {"base": [], "uniform": [], "gate": [], "oracle": []}
    for everything in validation.values():
        rows = everything[:MEASURED_ROWS]
        if not rows:
            continue
        examples = [owned.example for owned in rows]
        runs = [gate.open(owned.example.start, owned.embedding if gate.needs_embedding else None) for owned in rows]
        ways = {
            "base": [RowRouting(constant=one_hot[0])] * len(rows),
            "uniform": [RowRouting(constant=torch.full((size,), 1.0 / size))] * len(rows),
            "gate": [RowRouting(gate=gate, run=run, columns=columns) for run in runs],
            "oracle": [RowRouting(constant=one_hot[owned.expert]) for owned in rows],
        }
        ids, _ = padded(examples, base.model.device)
        for name, way in ways.items():
            routing = Routing(way, size)
            read_first(base.model, routing, ids)
            with routed(routing):
                results[name] += row_losses(base.model, examples)
    return {
        name: dict(zip(("mean", "low", "high"), (round(v, 4) for v in mean_interval(values)), strict=True))
        for name, values in results.items()
    }
