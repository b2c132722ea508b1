"""Read the documentation: pages of `playground/docs`, with lists of plug-ins from the registries."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from playground.core.plugins import Plugins
from playground.errors import InvalidRequest

DOCS = Path(__file__).resolve().parent.parent / "docs"
FIRST = "index.md"
MARK = re.compile(r"^<!-- list: (.+) -->$", re.MULTILINE)
# where each registry is; those of routers, recipes and objectives import torch
REGISTRIES = (
    ("playground.routers.base", "ROUTERS"),
    ("playground.learn.gates.recipe", "GATE_RECIPES"),
    ("playground.experts.base", "EXPERT_KINDS"),
    ("playground.experts.base", "TOOLS"),
    ("playground.learn.labels.objective", "LABEL_OBJECTIVES"),
    ("playground.learn.labels.pairs", "PAIR_POLICIES"),
    ("playground.exchange.base", "FORMATS"),
    ("playground.bench.base", "BENCHES"),
)


def pages() -> list[tuple[str, str]]:
    """Return (name, title) of every page: the tour first, then by folder and name."""
    return [(name, _title(DOCS / name)) for name in _names()]


def _names() -> list[str]:
    names = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    return sorted(names, key=lambda name: (name != FIRST, name.count("/"), name))


def page(name: str, *, lists: bool = True) -> str:
    """Return a page as Markdown. With `lists`, plug-ins are listed where the page asks for it.

    `name` is a path like `add/router.md`, with or without its ending. Raise InvalidRequest for an unknown page.
    """
    text = (DOCS / known_page(name)).read_text("utf-8")
    return MARK.sub(lambda mark: listing(mark[1]), text) if lists else text


def known_page(name: str) -> str:
    """Return the path of the page that `name` names, such as the README of a folder. Raise InvalidRequest."""
    known = _names()
    for wanted in (name, f"{name}.md", f"{name.rstrip('/')}/README.md"):
        if wanted in known:
            return wanted
    raise InvalidRequest(f"There is no page called {name[:60]!r}.", f"Choose one of: {', '.join(known)}.")


def registries() -> dict[str, Plugins[Any]]:
    """Return every registry of plug-ins by the noun of its kind."""
    found = [getattr(importlib.import_module(module), name) for module, name in REGISTRIES]
    return {registry.noun: registry for registry in found}


def listing(noun: str) -> str:
    """Return the plug-ins of a kind as a Markdown table: name, title, what it does with its source, options."""
    registry = registries()[noun]
    rows = [_row(name, registry.get(name)) for name in registry]
    rows += [f"| `{name}` | not available | {_cell(reason)} | |" for name, reason in registry.broken().items()]
    return "\n".join(["| name | title | what it does | options |", "| --- | --- | --- | --- |", *rows])


def _row(name: str, item: Any) -> str:
    kind = item if inspect.isclass(item) else type(item)
    about = getattr(item, "spec", None) or getattr(item, "card", None) or item
    title = getattr(about, "title", "") or name.replace("_", " ")
    does = getattr(about, "description", "") or _first_paragraph(kind)
    paper = getattr(about, "paper", None)
    options = getattr(kind, "Options", None)
    names = ", ".join(f"`{option}`" for option in getattr(options, "model_fields", {}))
    return f"| `{name}` | {_cell(title)} | {_cell(does)}{f' ({paper})' if paper else ''} | {names} |"


def _first_paragraph(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _title(path: Path) -> str:
    first = path.read_text("utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() or path.stem
