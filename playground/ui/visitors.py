"""Tells visitors apart, so that the places of the queue can be shared out among them.

An address alone is not a visitor: many people share one behind a router. A session alone is none either, because
whoever asks can make up a new one for every request. A session counts when its page is open.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from gradio.context import LocalContext

from playground.settings import Settings

UNKNOWN = "unknown"
FORWARDED = "x-forwarded-for"


class Visitor(NamedTuple):
    """One visitor: a network address and the session of an open page. Callers without a page share the session ''."""

    address: str
    session: str = ""


def address_of(peer: str | None, headers: Mapping[str, str], *, is_space: bool) -> str:
    """Return the network address of a caller. An IPv6 caller is known by its /64, which one person has as a whole.

    On a Space, the peer is the platform's own proxy. The last public address that the proxies noted is used there:
    what stands before it was written by the caller.
    """
    found = peer or UNKNOWN
    if is_space:
        noted = [part.strip() for part in headers.get(FORWARDED, "").split(",")]
        found = next((part for part in reversed(noted) if _is_public(part)), found)
    try:
        number = ipaddress.ip_address(found)
    except ValueError:
        return found
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is None:
        return str(ipaddress.ip_network((number, 64), strict=False))
    return str(getattr(number, "ipv4_mapped", None) or number)


def asking_address(settings: Settings) -> str:
    """Return the network address of the visitor whose callback runs in this thread. Empty outside of a callback."""
    request = LocalContext.request.get(None)
    client = getattr(request, "client", None)
    return address_of(client.host, request.headers, is_space=settings.is_space) if request and client else ""


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


class OpenPages:
    """The sessions whose page is open now. A page holds one connection for as long as it is open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def __contains__(self, session: object) -> bool:
        return session in self._open

    @contextmanager
    def held(self, session: str) -> Iterator[None]:
        """Count the page of `session` as open inside the block."""
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]

    def visitor(self, address: str, session: str | None) -> Visitor:
        """Return who asks with `session` from `address`."""
        return Visitor(address, session if session and session in self else "")
