"""Compare the adapters of the pool by their matrices."""

from pathlib import Path

from playground.core.route_measures import Factors, Likeness, likeness
from playground.model.adapters import read_adapter
from playground.serving.engine import Engine


def adapters_likeness(engine: Engine) -> Likeness:
    """Return how similar the ready adapters of the pool are, from their folders. Raise InvalidRequest."""
    found: dict[str, Factors] = {}
    for expert in engine.pool.experts:
        if expert.kind == "lora" and expert.ready:
            adapter = read_adapter(Path(expert.folder), expert.name, engine.base.model)
            found[expert.name] = {path: (a.numpy(), b.numpy()) for path, (a, b) in adapter.matrices.items()}
    return likeness(found)
