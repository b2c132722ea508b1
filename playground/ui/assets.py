"""The plain files of `static/`: scripts and style go into the page's head, templates into components.

Nothing is fetched from another host and nothing is built.
"""

from functools import lru_cache

from playground.settings import ROOT
from playground.ui.palette import palette_css

STATIC = ROOT / "static"
SCRIPTS = (
    "app",
    "maps",
    "attention",
    "run",
    "routing",
    "panels",
    "watching",
    "override",
    "pool",
    "likeness",
    "compare",
    "curve",
)


@lru_cache
def text_of(name: str) -> str:
    """The text of a file in `static/`."""
    return (STATIC / name).read_text(encoding="utf-8")


@lru_cache
def page_head() -> str:
    """What the page's `<head>` gains: palette, style and scripts, inline."""
    # the framework adds the head a second time from the browser; the guard keeps listeners single
    body = "\n".join(text_of(f"{name}.js") for name in SCRIPTS)
    scripts = f"<script>if (!window.Playground) {{\n{body}\n}}</script>"
    meta = '<meta name="color-scheme" content="light dark">'
    return f"{meta}<style>{palette_css()}\n{text_of('theme.css')}</style>\n{scripts}"


def mounting(kind: str) -> str:
    """The script of a component that lets `static/` draw it as `kind`."""
    served = "typeof server === 'undefined' ? null : server"
    return f"window.Playground.mount('{kind}', {{element, props, watch, trigger, server: {served}}});"
