"""The experts that are installed, of every kind, and who answers for those outside the model.

Walks the registry of kinds and knows none of them. Loads no weights, so the page can name the experts at once.
"""

from pathlib import Path

from playground.core.values import Pool
from playground.experts.base import Answerer, kinds


def load_catalogue(shipped: Path, *added: Path) -> Pool:
    """Return every expert: base, adapters by slot and name, tools, then other kinds. A broken one is not ready.

    Adapters lie in the folder `shipped` and in the folders `added`, which hold what people brought. The first folder
    that has a name keeps it.
    """
    return Pool(tuple(expert for kind in kinds() for expert in kind.experts((shipped, *added))))


def load_answerers() -> dict[str, Answerer]:
    """Return the experts that answer outside the model, by name. Nothing is started before the first question."""
    return {name: answerer for kind in kinds() for name, answerer in kind.answerers().items()}
