"""A page as a client sees it: its address, its endpoints by name, and its buttons by the ids that they have in it."""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

API = "gradio_api"
PATIENCE = httpx.Timeout(120.0)
PROMPTS = (
    "Explain why the sky is blue.",
    "Tom has 3 boxes of 12 pencils and gives away 7. How many are left?",
    "Write a short story about a lighthouse keeper.",
    "I am so happy today!",
    "What is 17% of 2,340?",
)


@dataclass(eq=False)
class Page:
    """Act as one visitor. `largest` is the size of the largest reply so far, in bytes. `refused` counts refusals.

    `source` is the address that the visitor comes from, empty for the usual one.
    """

    address: str
    config: dict[str, Any] = field(default_factory=dict)
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    largest: int = 0
    refused: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        road = httpx.HTTPTransport(local_address=self.source or None)
        self._client = httpx.Client(base_url=self.address, timeout=PATIENCE, transport=road)
        self.config = self.config or self._client.get("config").json()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def load(self) -> None:
        """Load the page as a browser begins to."""
        for path in ("", "config"):
            reply = self._client.get(path)
            reply.raise_for_status()
            self._seen(len(reply.content))

    def signs(self) -> Iterator[bytes]:
        """Yield the signs of life of an open page, for as long as the caller reads on."""
        with self._client.stream("GET", f"{API}/heartbeat/{self.session}", timeout=None) as stream:
            yield from stream.iter_bytes()

    def call(self, name: str, *values: Any) -> Any:
        """Return what an endpoint answers. Return None when it refuses."""
        event = self.send(name, *values)
        if not event:
            return None
        last = None
        with self._client.stream("GET", f"{API}/call/{name}/{event}") as stream:
            for line in stream.iter_lines():
                self._seen(len(line))
                if line.startswith("data: ") and not line.endswith("null"):
                    last = json.loads(line.removeprefix("data: "))
        if isinstance(last, list):
            return last[0]
        self.refused += 1
        return None

    def send(self, name: str, *values: Any) -> str:
        """Ask an endpoint, and return the id of the answer without waiting for it. Empty when it refuses."""
        reply = self._client.post(f"{API}/call/{name}", json={"data": values, "session_hash": self.session})
        if reply.status_code != httpx.codes.OK:
            self.refused += 1
            return ""
        return str(reply.json()["event_id"])

    def join(self, fn: int) -> None:
        """Send an event of the page with values that fit no button, and do not wait."""
        body = {"data": [None] * 30, "fn_index": fn, "session_hash": self.session}
        self._client.post(f"{API}/queue/join", json=body)

    def press(self, button: str, **given: Any) -> str:
        """Press a button by its id, with values by the ids of their controls. Return the last text that comes."""
        known = {part["id"]: part["props"] for part in self.config["components"]}
        fn = next(
            one
            for one in self.config["dependencies"]
            if any(known.get(at, {}).get("elem_id") == button and event == "click" for at, event in one["targets"])
        )
        values = [given.get(known[at].get("elem_id") or "", known[at].get("value")) for at in fn["inputs"]]
        body = {"data": values, "fn_index": fn["id"], "session_hash": self.session}
        self._client.post(f"{API}/queue/join", json=body).raise_for_status()
        last = ""
        with self._client.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                self._seen(len(line))
                last = line or last
                if '"close_stream"' in line:
                    break
        return last

    def look(self, run_id: str, layer: int | None = 0) -> None:
        """Ask for the attention of one layer of a run, or of all when `layer` is None."""
        name = "attention_all" if layer is None else "attention"
        parts = (part for part in self.config["components"] if name in (part["props"].get("server_fns") or []))
        data = {"run": run_id, "layer": layer, "job": uuid.uuid4().hex}
        asked = {"data": data, "session_hash": self.session, "fn_name": name, "component_id": next(parts)["id"]}
        reply = self._client.post(f"{API}/component_server", json=asked)
        self._seen(len(reply.content))

    def _seen(self, size: int) -> None:
        self.largest = max(self.largest, size)


def seconds_of(action: Any, *values: Any) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    action(*values)
    return time.perf_counter() - began


def hold(page: Page, over: threading.Event) -> None:
    """Keep a page open until it is over."""
    with contextlib.suppress(httpx.HTTPError):
        for _ in page.signs():
            if over.is_set():
                return
