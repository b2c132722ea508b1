"""The prompts offered as examples, and the recorded run that is on the page before any model is ready."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from playground.core.events import Event, from_dict, to_dict
from playground.settings import ROOT

log = logging.getLogger(__name__)
EXAMPLE_RUN = ROOT / "data" / "examples" / "run.json"

# (chip, prompt): each is meant to go to a different expert
PROMPTS: tuple[tuple[str, str], ...] = (
    ("arithmetic", "What is 37 * 24 + 15?"),
    ("units", "How many kilometres are 26.2 miles?"),
    ("sentiment", "Is this review positive or negative? The plot drags, but the last twenty minutes are a marvel."),
    ("emotion", "Which emotion is this? I can't believe they remembered my birthday after all these years!"),
    ("word problem", "Tom has 12 apples. He gives 5 to Ann and buys 8 more. How many apples does he have now?"),
    ("chat", "Explain in two sentences why the sky is blue."),
)


def save_events(path: Path, events: Iterable[Event]) -> None:
    """Write a run to `path` as `load_events` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"events": [to_dict(event) for event in events]}), encoding="utf-8")


def load_events(path: Path = EXAMPLE_RUN) -> list[Event]:
    """The run recorded at `path`; empty when there is none or it cannot be read, because the page must paint anyway."""
    try:
        return [from_dict(item) for item in json.loads(path.read_text(encoding="utf-8"))["events"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.info("no example run: %s", error)
        return []
