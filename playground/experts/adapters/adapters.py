"""LoRA adapters as experts: every folder of every place, by slot and name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from playground.core.values import Expert
from playground.experts.adapters.cards import broken_expert, free_name, load_expert
from playground.experts.base import Kind, expert_kind, kept_names


@expert_kind("lora")
class Adapters(Kind):
    """The adapter folders. The language model answers for them."""

    def experts(self, places: Sequence[Path]) -> list[Expert]:
        """Return one expert for each folder in `places`, by slot and name. A taken name makes an expert not ready."""
        found: list[Expert] = []
        for number, place in enumerate(places):
            for folder in _folders(place):
                expert = load_expert(folder)
                names = {other.name for other in found}
                if expert.name in names or expert.name in kept_names():
                    reason = f"The name {expert.name!r} is taken by another expert."
                    expert = broken_expert(free_name(folder.name, names), reason, folder)
                found.append(replace(expert, is_added=number > 0))
        return sorted(found, key=lambda expert: (expert.slot, expert.name))


def _folders(place: Path) -> list[Path]:
    try:
        children = sorted(place.iterdir())
    except OSError:
        return []  # no adapters are installed: the other kinds still work
    return [path for path in children if path.is_dir() and not path.name.startswith((".", "_"))]
