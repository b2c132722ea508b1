"""The router menu's entries and the expert cards."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from playground.core.values import Expert
from playground.ui.palette import look_of
from playground.ui.views.why import chip

if TYPE_CHECKING:
    from playground.runtime import RouterInfo

LEVEL_LINES = {
    "prompt": "Reads the prompt and weighs the experts before the answer begins.",
    "gate": "A small module inside the model that weighs the experts for each token in each layer.",
    "controller": "Thinks in rounds: calls an expert, reads what it says, decides again.",
}
KIND_WORDS = {
    "base": "the shared model",
    "lora": "adapter",
    "tool": "exact tool",
    "endpoint": "remote model",
    "strategy": "reasoning method",
}


def paper_address(paper: str) -> str:
    """Where a paper named like `arXiv:2403.12031` can be read; `#` for anything else."""
    prefix, _, number = paper.partition(":")
    is_arxiv = prefix.lower() == "arxiv" and number.replace(".", "").isalnum()
    return f"https://arxiv.org/abs/{number}" if is_arxiv else "#"


def router_choices(routers: Sequence["RouterInfo"]) -> list[dict[str, Any]]:
    """The menu's entries as JSON-ready values, in the order given."""
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
            "line": getattr(info, "line", "") or LEVEL_LINES[info.level],
        }
        for info in routers
    ]


def _card(expert: Expert) -> str:
    look = look_of(expert)
    facts = [("licence", expert.licence), ("trained on", expert.trained_on), ("measured", expert.figure)]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    examples = "".join(
        f'<button type="button" class="example" data-id="{escape(expert.name)}:{i}" title="{escape(example)}">'
        f"{escape(example if len(example) < 60 else example[:58] + '…')}</button>"
        for i, example in enumerate(expert.examples[:3])
    )
    state = "" if expert.ready else f'<p class="not-ready">not ready: {escape(expert.reason)}</p>'
    kind = f"{escape(look.icon)} {KIND_WORDS.get(expert.kind, expert.kind)}"
    return (
        f'<article class="expert-card" data-expert="{escape(expert.name)}">'
        f"<header>{chip(look)}<span class='muted kind'>{kind}</span></header>"
        f"<p>{escape(expert.description)}</p>{state}<dl>{rows}</dl>"
        + (f"<div class='examples'><span class='muted'>try</span>{examples}</div>" if examples else "")
        + "</article>"
    )


def experts_html(experts: Sequence[Expert]) -> str:
    """A card per expert, in pool order."""
    return f'<div class="expert-grid">{"".join(_card(expert) for expert in experts)}</div>'
