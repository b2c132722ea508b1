"""Stands in front of the page: whose name it answers to, how much one visitor may send, and how long a reply may be.

It sees requests before the framework does. Requests that go through the queue are shared out in `fair_queue.py`.
"""

import asyncio
import ipaddress
import json
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.core.rates import Rate
from playground.settings import Settings
from playground.ui.visitors import OpenPages, address_of

log = logging.getLogger(__name__)
MEGABYTE = 2**20
BODY_BYTES = MEGABYTE  # of a request that is no upload; the longest prompt has a few kilobytes
REPLY_BYTES = 20 * MEGABYTE
DIRECT = ("run", "api", "component_server")  # they skip the queue, so their threads are shared out here
DIRECT_LIMIT, DIRECT_OF_ONE = 24, 4  # at once, of each of these
DIRECT_WAITING = 32  # of one address; more are refused
PAGES_OF_ONE = 200  # open pages of one address
UPLOADS_SECONDS = 3600.0
UPLOADS_OF_ONE, UPLOADS_OF_ALL = 3, 20  # adapters of the largest size in that time
LOCAL_NAMES = ("localhost",)


@lru_cache
def own_names() -> frozenset[str]:
    """Return the names of this machine."""
    name = socket.gethostname().lower()
    return frozenset((*LOCAL_NAMES, name, f"{name}.local"))


def host_of(header: str) -> str:
    """Return the host in a Host header, in lower case, without port and brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def is_known(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether the page answers to `host`: an address, this machine's name, or a name that the host allows.

    A page of a stranger can point a name of its own to this machine, and its script then acts for whoever looks at it.
    Only names can be pointed, so numbers are safe.
    """
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    patterns = [name.strip().lower() for name in allowed]
    suffixes = tuple(name[1:] for name in patterns if name.startswith("*.") and len(name) > 2)
    return host in own_names() or "*" in patterns or host in patterns or host.endswith(suffixes)


class Lanes:
    """Places for requests that skip the queue, a few for each address."""

    def __init__(self, limit: int, of_one: int, waiting: int) -> None:
        self._limit, self._of_one, self._waiting = limit, of_one, waiting
        self._changed = asyncio.Condition()
        self._busy: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    def is_full(self, address: str) -> bool:
        """Return whether so many requests of `address` wait that one more is refused."""
        return self._asked[address] >= self._waiting + self._of_one

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """Wait for a place and hold it inside the block."""
        self._asked[address] += 1
        try:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._busy[address] < self._of_one and self._busy.total() < self._limit
                )
                self._busy[address] += 1
            try:
                yield
            finally:
                async with self._changed:
                    self._busy[address] -= 1
                    self._changed.notify_all()
        finally:
            self._asked[address] -= 1
            if not self._asked[address]:
                del self._asked[address], self._busy[address]


class Guard:
    """The middleware. `pages` learns from it which pages are open."""

    def __init__(self, app: ASGIApp, *, settings: Settings, pages: OpenPages) -> None:
        self.app = app
        self.settings = settings
        self.pages = pages
        self._lanes = {name: Lanes(DIRECT_LIMIT, DIRECT_OF_ONE, DIRECT_WAITING) for name in DIRECT}
        largest = settings.max_adapter_bytes
        self._uploads = Rate(UPLOADS_OF_ONE * largest, UPLOADS_SECONDS)
        self._all_uploads = Rate(UPLOADS_OF_ALL * largest, UPLOADS_SECONDS)
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it with a sentence."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if not self.settings.is_space and not is_known(host, self.settings.hosts):
            await _refuse(400, _foreign(host), scope, receive, send)
            return
        client = scope.get("client")
        address = address_of(client[0] if client else None, headers, is_space=self.settings.is_space)
        names = [scope["method"], *(part for part in scope["path"].split("/") if part)]
        limited = _Limited(send, receive, REPLY_BYTES, BODY_BYTES)
        match names[0], *names[-2:]:
            case ["POST", _, "upload"]:
                await self._upload(address, scope, receive, send)
            case [_, "heartbeat", session]:
                await self._page(address, session, scope, receive, send)
            case _ if int_of(headers.get("content-length")) > BODY_BYTES:
                await _refuse(413, "The request is too large. Send less text.", scope, receive, send)
            case ["POST", _, "component_server"]:
                await self._direct("component_server", address, scope, limited)
            case ["POST", "run" | "api" as kind, _]:
                await self._direct(kind, address, scope, limited)
            case _:
                await self.app(scope, limited.receive, limited.send)

    async def _direct(self, kind: str, address: str, scope: Scope, limited: "_Limited") -> None:
        lanes = self._lanes[kind]
        if lanes.is_full(address):
            sentence = "Too many of your requests are waiting already. Wait until some are answered."
            await _refuse(429, sentence, scope, limited.receive, limited.send)
            return
        async with lanes.place(address):
            await self.app(scope, limited.receive, limited.send)

    async def _page(self, address: str, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open[address] >= PAGES_OF_ONE:
            sentence = "Too many pages are open at this address. Close some of them."
            await _refuse(429, sentence, scope, receive, send)
            return
        self._open[address] += 1
        try:
            with self.pages.held(session):
                await self.app(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _upload(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        settings, now = self.settings, time.monotonic()
        if settings.is_space and not settings.admin_password:
            await _refuse(403, "Only the host can add adapters here.", scope, receive, send)
            return
        if settings.is_public:
            size = int_of(Headers(scope=scope).get("content-length")) or settings.max_adapter_bytes
            wait = self._uploads.wait(address, now, size) or self._all_uploads.wait("", now, size)
            if wait:
                log.warning("upload refused address=%s bytes=%s", address, size)
                sentence = f"Too many files were uploaded. Try again in {minutes(wait)}."
                await _refuse(429, sentence, scope, receive, send)
                return
            self._uploads.spend(address, now, size)
            self._all_uploads.spend("", now, size)
        await self.app(scope, receive, send)


class _Limited:
    """The two ends of a request, with a limit on how much passes."""

    def __init__(self, send: Send, receive: Receive, reply: int, body: int) -> None:
        self._send, self._receive = send, receive
        self._reply, self._body = reply, body
        self._is_refused = False

    async def receive(self) -> Message:
        """Return the next part of the request. A body without an honest length ends like a broken connection."""
        message = await self._receive()
        self._body -= len(message.get("body", b""))
        return message if self._body >= 0 else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass a part of the reply on. A reply that is too large is replaced by a sentence."""
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            length = int_of(Headers(raw=message["headers"]).get("content-length"))
            if length > self._reply:
                self._is_refused = True
                log.error("reply too large bytes=%s", length)
                sentence = f"The reply has {length // MEGABYTE} MB, which is too much. Ask for less."
                body = json.dumps({"error": sentence, "detail": sentence}).encode()
                kept = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await self._send({"type": "http.response.start", "status": 413, "headers": kept})
                await self._send({"type": "http.response.body", "body": body})
                return
        await self._send(message)


async def _refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a sentence, under both names that the framework's browser code looks for."""
    await JSONResponse({"error": sentence, "detail": sentence}, status)(scope, receive, send)


def _foreign(host: str) -> str:
    return (
        f"This page does not answer to the name {host[:100]!r}. "
        "The host can allow it with the setting PLAYGROUND_ALLOWED_HOSTS."
    )


def int_of(text: str | None) -> int:
    """Return the number in a header, or 0 when there is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else 0


def minutes(seconds: float) -> str:
    """Return a time to wait in words."""
    return f"{max(1, round(seconds / 60))} min" if seconds >= 60 else f"{max(1, round(seconds))} s"
