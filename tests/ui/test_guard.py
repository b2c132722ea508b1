"""What stands in front of the page: names, sizes, uploads, and requests that skip the queue."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from playground.settings import Settings
from playground.ui.guard import BODY_BYTES, DIRECT_OF_ONE, DIRECT_WAITING, MEGABYTE, REPLY_BYTES, Guard, host_of
from playground.ui.visitors import OpenPages
from tests.loops import run_async

Serve = Callable[..., httpx.AsyncClient]


class Place:
    """A page of one route. `held` requests wait until `go` is set."""

    def __init__(self) -> None:
        self.held, self.most = 0, 0
        self.go = asyncio.Event()
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])

    async def answer(self, request: Request) -> Response:
        if "large" in request.query_params:
            return PlainTextResponse("x" * (REPLY_BYTES + 1))
        body = await request.body()
        self.held += 1
        self.most = max(self.most, self.held)
        if "wait" in request.query_params:
            await self.go.wait()
        self.held -= 1
        return PlainTextResponse(f"{len(body)}")


def served(settings: Settings, place: Place, pages: OpenPages | None = None, *, address: str = "1.2.3.4") -> Any:
    guard = Guard(place.app, settings=settings, pages=pages or OpenPages())
    transport = httpx.ASGITransport(guard, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:7860", 200),
        ("192.168.1.5:80", 200),
        ("play.example.org", 200),
        ("a.wild.example.org:443", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("wild.example.org.evil.example", 400),
        ("", 400),
    ],
)
def test_the_page_answers_to_its_own_names_only(settings: Settings, host: str, status: int) -> None:
    allowed = settings.model_copy(update={"allowed_hosts": "play.example.org, *.wild.example.org"})

    async def ask() -> httpx.Response:
        return await served(allowed, Place()).get("/", headers={"host": host})

    found = run_async(ask())
    assert found.status_code == status
    if status == 400:
        assert "PLAYGROUND_ALLOWED_HOSTS" in found.json()["error"]


def test_a_space_is_reached_by_whatever_name_the_platform_gives(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "me/playground")
    found = run_async(served(settings, Place()).get("/", headers={"host": "me-playground.hf.space"}))
    assert found.status_code == 200


def test_a_host_is_read_without_port_and_brackets() -> None:
    assert [host_of(text) for text in ("A.b:80", "[::1]:80", "[::1]", "a.", " a ")] == ["a.b", "::1", "::1", "a", "a"]


def test_large_requests_and_replies_are_refused(settings: Settings) -> None:
    async def ask() -> list[httpx.Response]:
        client = served(settings, Place())

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * (BODY_BYTES // 2)

        whole = await client.post("/gradio_api/queue/join", content=b"x" * (BODY_BYTES + 1))
        fits = await client.post("/gradio_api/queue/join", content=b"x" * BODY_BYTES)
        reply = await client.get("/?large=1")
        with pytest.raises(Exception, match=r"^$|[Dd]isconnect"):
            await client.post("/gradio_api/queue/join", content=parts())
        return [whole, fits, reply]

    whole, fits, reply = run_async(ask())
    assert (whole.status_code, fits.status_code, reply.status_code) == (413, 200, 413)
    assert "Send less" in whole.json()["error"]
    assert len(reply.content) < 200
    assert "Ask for less" in reply.json()["error"]


@pytest.mark.parametrize(
    "path", ["/gradio_api/component_server", "/gradio_api/run/predict", "/below/gradio_api/api/x/"]
)
def test_one_address_has_few_places_and_leaves_the_others_theirs(settings: Settings, path: str) -> None:
    async def ask() -> tuple[int, int, list[int]]:
        place = Place()
        client = served(settings, place)
        guard = client._transport.app  # type: ignore[attr-defined]
        other = httpx.AsyncClient(
            transport=httpx.ASGITransport(guard, client=("5.6.7.8", 1)), base_url="http://127.0.0.1"
        )
        waiting = [asyncio.create_task(client.post(f"{path}?wait=1")) for _ in range(DIRECT_OF_ONE + DIRECT_WAITING)]
        await asyncio.sleep(0.05)
        refused = await client.post(path)
        quick = await asyncio.wait_for(other.post(path), 2)
        most = place.most
        place.go.set()
        return (
            most,
            quick.status_code,
            [refused.status_code, *{one.status_code for one in await asyncio.gather(*waiting)}],
        )

    most, quick, statuses = run_async(ask())
    assert most == DIRECT_OF_ONE + 1  # and the other's
    assert quick == 200
    assert statuses == [429, 200]


def test_streams_of_an_endpoint_called_run_are_no_direct_calls(settings: Settings) -> None:
    async def ask() -> int:
        place = Place()
        client = served(settings, place)
        tasks = [asyncio.create_task(client.get(f"/gradio_api/call/run/{i}?wait=1")) for i in range(DIRECT_OF_ONE + 3)]
        await asyncio.sleep(0.05)
        place.go.set()
        await asyncio.gather(*tasks)
        return place.most

    assert run_async(ask()) == DIRECT_OF_ONE + 3


def test_an_open_page_is_known_for_as_long_as_it_is_open(settings: Settings) -> None:
    async def ask() -> tuple[bool, bool]:
        place, pages = Place(), OpenPages()
        task = asyncio.create_task(served(settings, place, pages).get("/gradio_api/heartbeat/ann?wait=1"))
        await asyncio.sleep(0.05)
        before = "ann" in pages
        place.go.set()
        await task
        return before, "ann" in pages

    assert run_async(ask()) == (True, False)


def uploads(settings: Settings, count: int, *, address: str = "1.2.3.4") -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        client = served(settings, Place(), address=address)
        return [await client.post("/gradio_api/upload", content=b"x" * (MEGABYTE // 2)) for _ in range(count)]

    return run_async(send())


def test_uploads_of_strangers_are_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    small = settings.model_copy(update={"max_adapter_mb": 1})
    assert {one.status_code for one in uploads(small, 9)} == {200}  # one's own machine
    public = small.model_copy(update={"admin_password": "secret"})
    sent = uploads(public, 9)
    assert [one.status_code for one in sent] == [200] * 6 + [429] * 3
    assert "Try again in 60 min" in sent[-1].json()["error"]
    monkeypatch.setenv("SPACE_ID", "me/playground")
    assert [one.status_code for one in uploads(small, 1)] == [403]  # nobody may add anything there
