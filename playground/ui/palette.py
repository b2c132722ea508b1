"""The ten expert colours and what stands beside them, so that nothing is told by colour alone.

Contrast is at least 3:1 on white and on #18181b, so one palette serves both modes. The order keeps the first colours as
distinct as possible, for normal, protan, deutan and tritan sight. The base model has no colour: it is outlined and
hatched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from playground.core.values import Expert, Pool


@dataclass(frozen=True)
class Colour:
    """One palette slot: its name, its fill, and the ink that is readable on it."""

    name: str
    fill: str
    ink: str


PALETTE: tuple[Colour, ...] = (
    Colour("blue", "#6887ff", "#000000"),
    Colour("orange", "#fd5b0b", "#000000"),
    Colour("plum", "#845b6e", "#ffffff"),
    Colour("olive", "#94966b", "#000000"),
    Colour("green", "#397247", "#ffffff"),
    Colour("violet", "#5e4af3", "#ffffff"),
    Colour("magenta", "#b72494", "#ffffff"),
    Colour("mauve", "#ab80b5", "#000000"),
    Colour("red", "#cc1a0a", "#ffffff"),
    Colour("teal", "#62988d", "#000000"),
)

KIND_ICONS: dict[str, str] = {"base": "▢", "lora": "◇", "tool": "⚙\ufe0e", "endpoint": "☁\ufe0e", "strategy": "✦"}


@dataclass(frozen=True)
class Look:
    """How one expert is drawn everywhere. `slot` 0 to 9 names a palette colour, -1 means outlined without colour."""

    name: str
    title: str
    mark: str
    slot: int
    kind: str

    @property
    def icon(self) -> str:
        """Return the sign of its kind."""
        return KIND_ICONS.get(self.kind, "")


def look_of(expert: Expert) -> Look:
    """Return how `expert` is drawn; slots beyond the palette repeat."""
    slot = expert.slot % len(PALETTE) if expert.slot >= 0 else -1
    return Look(expert.name, expert.title or expert.name, expert.mark, slot, expert.kind)


def looks(names: Sequence[str], pool: Pool) -> list[Look]:
    """Return one look for each name. A name that has left the pool keeps its first two letters as its mark."""
    known = {expert.name: look_of(expert) for expert in pool.experts}
    return [known.get(name) or Look(name, name, name[:2].capitalize(), -1, "") for name in names]


def palette_css() -> str:
    """Return the palette as CSS custom properties: fills `--x0` to `--x9`, and readable inks `--t0` to `--t9`."""
    rules = "".join(f"--x{i}:{colour.fill};--t{i}:{colour.ink};" for i, colour in enumerate(PALETTE))
    return f":root{{{rules}}}"
