"""The router menu's entries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.serving.runtime import RouterInfo

LEVEL_LINES = {
    "prompt": "Reads the prompt and weighs the experts before the answer begins.",
    "gate": "A small module inside the model that weighs the experts for each token in each layer.",
    "controller": "Thinks in rounds: calls an expert, reads what it says, decides again.",
}


def paper_address(paper: str) -> str:
    """Return where a paper named like `arXiv:2403.12031` can be read; `#` for anything else."""
    prefix, _, number = paper.partition(":")
    is_arxiv = prefix.lower() == "arxiv" and number.replace(".", "").isalnum()
    return f"https://arxiv.org/abs/{number}" if is_arxiv else "#"


def router_choices(routers: Sequence["RouterInfo"]) -> list[dict[str, Any]]:
    """Return the menu's entries as JSON-ready values, in the order given."""
    return [
        {
            "name": info.name,
            "title": info.title,
            "level": info.level,
            "paper": info.paper or "",
            "href": paper_address(info.paper or ""),
            "trained_from": info.trained_from,
            "ready": info.ready,
            "reason": info.reason,
            "figure": info.figure,
            "version": info.version,
            "line": f"{LEVEL_LINES[info.level]} {getattr(info, 'note', '')}".strip(),
        }
        for info in routers
    ]
