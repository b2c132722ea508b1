"""The plain files of `static/`: the style goes into the page's head, modules are served, templates go into components.

Nothing is fetched from another host and nothing is built.
"""

import hashlib
import mimetypes
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from playground.settings import ROOT
from playground.ui.palette import palette_css

STATIC = ROOT / "static"
PREFIX = "browser-modules"
# a component may be ready before the modules are: then it waits in a list that `page/main.js` empties
QUEUE = "window.Playground ??= { waiting: [], mount(...parts) { this.waiting.push(parts); }, view() {} };"


@lru_cache
def text_of(name: str) -> str:
    """Return the text of a file in `static/`."""
    return (STATIC / name).read_text(encoding="utf-8")


@lru_cache
def modules() -> tuple[str, ...]:
    """Return the path of each ES module in `static/`."""
    return tuple(sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")))


@lru_cache
def version() -> str:
    """Return a name for what all modules say now; it is part of their address, so that a browser may keep them."""
    digest = hashlib.sha256()
    for name in modules():
        digest.update(f"{name}\0{text_of(name)}\0".encode())
    return digest.hexdigest()[:12]


class ModuleFiles(StaticFiles):
    """Serves the modules and nothing else of `static/`. A browser may keep them: new ones have another address."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the module at `path`. Raises HTTPException (404) for any other file."""
        if path.replace("\\", "/") not in modules():
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def module_route() -> Mount:
    """Return the route that serves the modules."""
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, which a browser refuses
    return Mount(f"/{PREFIX}/{version()}", ModuleFiles(directory=STATIC))


@lru_cache
def page_head() -> str:
    """Return what the page's `<head>` gains: palette and style inline, and the modules by relative addresses.

    The framework adds the head a second time from the browser. A module runs once all the same.
    """
    place = f"./{PREFIX}/{version()}"  # relative, so that it also holds behind a proxy
    hints = "".join(f'<link rel="modulepreload" href="{place}/{name}">' for name in modules())
    meta = '<meta name="color-scheme" content="light dark">'
    style = f"<style>{palette_css()}\n{text_of('theme.css')}</style>"
    return f'{meta}{style}<script>{QUEUE}</script>{hints}<script type="module" src="{place}/page/main.js"></script>'


def mounting(kind: str) -> str:
    """Return the script of a component that lets `static/` draw it as `kind`."""
    served = "typeof server === 'undefined' ? null : server"
    return f"window.Playground.mount('{kind}', {{element, props, watch, trigger, server: {served}}});"
