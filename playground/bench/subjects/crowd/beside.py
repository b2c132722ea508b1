"""Time a visitor in a quiet page, and beside one client that sends the worst it can without pause."""

import contextlib
import itertools
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

from playground.bench.base import Tell
from playground.bench.subjects.crowd.page import PROMPTS, Page, hold, seconds_of

if TYPE_CHECKING:
    from playground.bench.subjects.crowd.crowd import Crowd

ANOTHER = "127.0.0.2"  # the visitor who is timed has an address of its own, as people have
WARM_SECONDS = 15.0
TOKENS = 300
LOOKED_AT = "Say something about each of these numbers: " + "12 " * 500
FLOODS: tuple[tuple[Any, ...], ...] = (
    ("ask", PROMPTS[0], "knn", TOKENS, 1e-39, 1),  # a temperature that once ended the model's thread
    ("ask", "7" * 4000, "lora_mixer", TOKENS, 0.7, 1),
    ("ask", PROMPTS[2], "xlora", TOKENS, 0.7, 1),  # two passes for each token
    ("ask", "31" * 4000, "knn", TOKENS, 0.7, 1),
    ("compare", PROMPTS[2], "random", "random", TOKENS),
    ("labels", 100),
)


def beside(asked: "Crowd", address: str, tell: Tell) -> dict[str, Any]:
    """Return how long a visitor waits, quiet and beside the others: medians and longest times over `asked.rounds`.

    `ask_ratio` is the median answer's time over the quiet one, `ask_ratio_most` the longest.
    """
    if not asked.rounds:
        return {}
    page, over = Page(address, source=ANOTHER), threading.Event()
    threading.Thread(target=hold, args=(page, over), daemon=True).start()
    time.sleep(1.0)
    tell("one visitor in a quiet page")
    quiet = _timed(page, asked)
    floods = [
        threading.Thread(target=_flood, args=(address, page.config, number, over), daemon=True)
        for number in range(asked.flood)
    ]
    for flood in floods:
        flood.start()
    time.sleep(min(WARM_SECONDS, asked.rounds))
    tell("one client sends without pause")
    found = _timed(page, asked)
    over.set()
    for flood in floods:
        flood.join(5)
    times: dict[str, Any] = {}
    for name, seconds in quiet.items():
        times[f"{name}_quiet_s"] = round(statistics.median(seconds), 3)
        times[f"{name}_beside_s"] = round(statistics.median(found[name]), 3)
        times[f"{name}_beside_most_s"] = round(max(found[name]), 3)
    usual = statistics.median(quiet["ask"])
    return times | {
        "ask_ratio": round(statistics.median(found["ask"]) / usual, 2),
        "ask_ratio_most": round(max(found["ask"]) / usual, 2),
        "ask_ratios": [round(one / usual, 2) for one in found["ask"]],
        "refused_beside": page.refused,
    }


def _timed(page: Page, asked: "Crowd") -> dict[str, list[float]]:
    """Return several times that loading the page, a vote, and an answer take."""
    found: dict[str, list[float]] = {"page": [], "vote": [], "ask": []}
    for _ in range(asked.rounds):
        found["page"].append(seconds_of(page.load))
        pair = page.call("compare", PROMPTS[0], "random", "random", 8)
        if pair:
            found["vote"].append(seconds_of(page.call, "vote", pair["comparison_id"], "a"))
        found["ask"].append(seconds_of(page.call, "ask", PROMPTS[0], "linear", asked.tokens, 0.0, 1))
    return {name: times for name, times in found.items() if times}


def _flood(address: str, config: dict[str, Any], number: int, over: threading.Event) -> None:
    """Send as fast as it goes, each time as somebody else: every kind of `FLOODS`, page events, and attention.

    Most answers are never fetched. Of some runs all attention is asked for, in the whole length of their prompt.
    """
    for turn in itertools.count(number):
        if over.is_set():
            return
        page = Page(address, config)
        with contextlib.suppress(httpx.HTTPError, StopIteration):
            if turn % 8 == 0:
                answer = page.call("ask", LOOKED_AT, "knn", 1, 0.0, 1)
                if answer:
                    page.look(answer["run_id"], layer=None)
            else:
                page.send(*FLOODS[turn % len(FLOODS)])
                page.join(turn % len(config["dependencies"]))
        page.close()
