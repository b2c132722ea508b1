"""The plain files of `static/`. The style goes into the page's head, modules are served, templates go into components.

Nothing is fetched from another host and nothing is built.
"""

import hashlib
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from playground.settings import ROOT
from playground.ui.palette import palette_css

STATIC = ROOT / "static"
PREFIX = "browser-modules"
FOREVER = "public, max-age=31536000, immutable"  # a module that changes gets another address
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
    """Return a hash of all modules. It is part of their address, so that a change gets a new address."""
    digest = hashlib.sha256()
    for name in modules():
        digest.update(f"{name}\0{text_of(name)}\0".encode())
    return digest.hexdigest()[:12]


@lru_cache
def pictures() -> tuple[str, ...]:
    """Return the path of each picture in `static/` that the documentation shows."""
    return tuple(sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.png")))


def picture_address(name: str) -> str:
    """Return the address of a screenshot, relative to the page."""
    return f"./{PREFIX}/{version()}/screenshots/{name}"


async def _module(request: Request) -> Response:
    """Return a module from memory, or a picture. Return 404 for any other file."""
    name = request.path_params["name"]
    kept = {"Cache-Control": FOREVER}
    if request.path_params["version"] == version() and name in modules():
        return Response(text_of(name), media_type="text/javascript", headers=kept)
    if request.path_params["version"] == version() and name in pictures():
        return Response((STATIC / name).read_bytes(), media_type="image/png", headers=kept)
    return Response(status_code=404)


def module_route() -> Route:
    """Return the route that serves the modules."""
    return Route(f"/{PREFIX}/{{version}}/{{name:path}}", _module)


@lru_cache
def page_head() -> str:
    """Return what the page's `<head>` gains: palette and style inline, and the modules by relative addresses.

    The framework may add the head more than once; a module runs once all the same. Low priority lets the framework's
    own files go first. All modules in one script would draw the example 0.3 s sooner on a first visit (2 busy cores);
    served one by one they are what is written in `static/`, and a browser keeps them.
    """
    place = f"./{PREFIX}/{version()}"  # relative, so that it also holds behind a proxy
    hints = "".join(f'<link rel="modulepreload" fetchpriority="low" href="{place}/{name}">' for name in modules())
    meta = '<meta name="color-scheme" content="light dark">'
    style = f"<style>{palette_css()}\n{text_of('theme.css')}</style>"
    return f'{meta}{style}<script>{QUEUE}</script>{hints}<script type="module" src="{place}/page/main.js"></script>'


def mounting(kind: str) -> str:
    """Return the script of a component that lets `static/` draw it as `kind`."""
    served = "typeof server === 'undefined' ? null : server"
    return f"window.Playground.mount('{kind}', {{element, props, watch, trigger, server: {served}}});"
