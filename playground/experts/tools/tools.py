"""Tools as experts: every registered tool, and every broken tool file with the reason why it is not ready."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from playground.core.values import Expert
from playground.experts.adapters.cards import slug
from playground.experts.base import SLOTS, TOOLS, Answerer, Kind, expert_kind


@expert_kind("tool")
class Tools(Kind):
    """The tools in this folder."""

    def experts(self, places: Sequence[Path]) -> list[Expert]:
        """Return the card of each tool. A file that could not be imported is an expert that is not ready."""
        cards = {name: TOOLS.get(name).card for name in TOOLS}
        for file, reason in TOOLS.broken().items():
            name = slug(file)
            cards[name] = replace(cards.get(name, _unknown(name)), ready=False, reason=f"Its file is broken: {reason}.")
        return list(cards.values())

    def answerers(self) -> Mapping[str, Answerer]:
        """Return the tools by name."""
        return {name: TOOLS.get(name)() for name in TOOLS}


def _unknown(name: str) -> Expert:
    title = name.replace("_", " ").capitalize()
    return Expert(name, "tool", title, "This tool's file is not usable.", name[:2].title(), SLOTS - 1)
