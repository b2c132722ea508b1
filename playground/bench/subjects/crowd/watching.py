"""Serve the page from a process of its own, let visitors use it, and watch its memory.

Uses the models of this installation, with a database in a temporary folder. Memory is that of the server alone.
"""

import contextlib
import itertools
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from playground.bench.base import Tell
from playground.bench.subjects.crowd.beside import beside
from playground.bench.subjects.crowd.page import PROMPTS, Page, hold
from playground.errors import InvalidRequest, NotReady
from playground.settings import ROOT, Settings

if TYPE_CHECKING:
    from playground.bench.subjects.crowd.crowd import Crowd

START_SECONDS = 120.0
WATCH_SECONDS = 5.0


def run(asked: "Crowd", settings: Settings, tell: Tell) -> dict[str, Any]:
    """Return the figures that `bench crowd` shows. Raise NotReady when the page does not start."""
    if not Path("/proc/self/statm").is_file():
        raise InvalidRequest("Memory is read from /proc, which this system does not have.", "Run this on Linux.")
    with served(settings) as (pid, address):
        used = use(asked, pid, address, tell)
        return {"minutes": asked.minutes, "visitors": asked.visitors, **used, **beside(asked, address, tell)}


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[tuple[int, str]]:
    """Yield (process id, address) of a page that is ready, on a database of its own."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        own = {"PLAYGROUND_DATA_DIR": folder, "PLAYGROUND_DATABASE_URL": "", "PLAYGROUND_CACHE_DIR": settings.cache_dir}
        given = [f"{name}={value}" for name, value in own.items()]
        command = ["env", *given, sys.executable, "-m", "playground", "serve", "--port", str(port)]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}/"
        try:
            _wait_for(server, address)
            yield server.pid, address
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(server: "subprocess.Popen[bytes]", address: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(address, timeout=5).is_success:
                return
        time.sleep(0.2)
    raise NotReady("The page did not start.", "Run doctor.")


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds, in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def use(asked: "Crowd", pid: int, address: str, tell: Tell) -> dict[str, Any]:
    """Let visitors use the page of process `pid`. Return what was done, and how its memory went."""
    page = Page(address)
    routers = [one["name"] for one in page.call("routers")["routers"] if one["ready"]]
    for router in routers:
        page.call("ask", PROMPTS[0], router, asked.tokens, 0.0, 1)  # what a router needs is loaded once
    over, done = threading.Event(), Counter[str]()
    pages = [Page(page.address, page.config) for _ in range(asked.visitors)]
    visits = [
        threading.Thread(target=_visit, args=(one, asked, routers, done, over), kwargs={"seed": number})
        for number, one in enumerate(pages)
    ]
    resting, began, memory = resident_mb(pid), time.monotonic(), []
    for visit in visits:
        visit.start()
    try:
        while (gone := time.monotonic() - began) < 60 * asked.minutes:
            memory.append((gone / 60, resident_mb(pid)))
            tell(f"minute {gone / 60:.1f} of {asked.minutes:g}: {memory[-1][1]:.0f} MB, {done.total()} actions")
            time.sleep(min(WATCH_SECONDS, 60 * asked.minutes / 4))
    finally:
        over.set()
        for visit in visits:
            visit.join(180)
    return {
        "actions": done.total(),
        "by_kind": dict(done),
        "refused": sum(one.refused for one in pages),
        "largest_reply_mb": round(max(one.largest for one in pages) / 2**20, 3),
        **flatness(memory, resting, asked.settle),
    }


def flatness(memory: list[tuple[float, float]], resting: float, settle: float) -> dict[str, Any]:
    """Return figures on (minute, megabytes) measured over time. `growth` is over the minutes after `settle`.

    Both ends are medians over a minute, because memory rises and falls with every run.
    """
    later = [one for one in memory if one[0] >= settle] or memory[-1:]
    first = statistics.median(size for at, size in later if at <= later[0][0] + 1)
    last = statistics.median(size for at, size in later if at >= later[-1][0] - 1)
    minutes = {int(at): size for at, size in memory}
    return {
        "resting_mb": round(resting, 1),
        "settled_mb": round(first, 1),
        "last_mb": round(last, 1),
        "growth": round(last / first - 1, 4),
        "peak_ratio": round(max(size for _, size in memory) / resting, 3),
        "each_minute_mb": [round(size, 1) for size in minutes.values()],
    }


def _visit(
    page: Page, asked: "Crowd", routers: list[str], done: Counter[str], over: threading.Event, *, seed: int
) -> None:
    """Use the page until it is over: every kind of action in a random order, and now and then as another visitor."""
    dice = random.Random(seed)
    holding = threading.Thread(target=hold, args=(page, over), daemon=True)
    holding.start()
    actions = itertools.cycle(dice.sample(KINDS, len(KINDS)))
    while not over.is_set():
        name = next(actions)
        prompt, router = dice.choice(PROMPTS), dice.choice(routers)
        with contextlib.suppress(httpx.HTTPError):
            _act(page, name, prompt, router, asked.tokens)
            done[name] += 1
        over.wait(asked.pause)


KINDS = ("load", "ask", "run", "button", "compare", "labels", "experts", "attention", "left")


def _act(page: Page, name: str, prompt: str, router: str, tokens: int) -> None:
    match name:
        case "load":
            page.load()
        case "ask" | "run":
            page.call(name, prompt, router, tokens, 0.7, 1)
        case "button":
            page.press("run", prompt=prompt, router=router, **{"max-tokens": tokens})
        case "compare":
            pair = page.call("compare", prompt, "random", "random", tokens)
            if pair:
                page.call("vote", pair["comparison_id"], "a")
        case "attention":
            answer = page.call("ask", prompt, router, tokens, 0.0, 1)
            if answer:
                page.look(answer["run_id"])
        case "left":  # as somebody else, who never comes back for the answer
            Page(page.address, page.config).send("ask", prompt, router, tokens, 0.7, 1)
        case _:
            page.call(name)
