"""Give the prompts offered as examples, and the recorded run that the page shows before any model is ready."""

import logging
from pathlib import Path

from playground.core.events import Event, events_from_json
from playground.core.values import Pool
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


def offered(pool: Pool) -> list[str]:
    """Return the prompts of the page and of the experts."""
    return [prompt for _, prompt in PROMPTS] + [example for expert in pool.experts for example in expert.examples]


def recorded_run(path: Path = EXAMPLE_RUN) -> list[Event]:
    """Return the run recorded at `path`. Empty when it cannot be read, because the page must paint anyway."""
    try:
        return events_from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        log.info("no example run: %s", error)
        return []
