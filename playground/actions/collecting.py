"""Collect: the notice before the first vote, a sitting with a goal, the queue of prompts, and unannounced checks.

A check or a repeat is drawn by the host's settings. Whoever voted is told at once that it was one.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.actions import examples
from playground.actions.compare import OpenComparison
from playground.actions.vote import from_store, judge, judge_late, read_verdict
from playground.core.events import Decided, Event, Finished, RunStarted, TokenGenerated
from playground.core.integrity import Integrity, VoteStanding, standings
from playground.core.preferences import Verdict
from playground.core.values import Sampling, Scores
from playground.errors import InvalidRequest, NotPermitted
from playground.settings import Settings
from playground.store import collecting as store
from playground.store.collecting import Sitting
from playground.store.label_views import current_labels
from playground.store.labels import create_comparison
from playground.store.people import known_labeller, labeller
from playground.store.prompts import typed_prompts
from playground.store.runs import save_run
from playground.store.tables import RunRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from playground.serving.runtime import Runtime

NOTICE = (
    "Your votes, with the prompts and both answers, are kept under a random name and used to improve the routers. "
    "Do not type anything private. You can ask for your votes to be deleted."
)
BUILT_IN, VISITORS = "built in", "visitors"
MOST_KEPT = 100  # votes that one message of a browser may hold
REPEAT_GAP = 10  # votes between a comparison and its repeat
MOST_PROMPTS = 2000
CHECK_ROUTER = "known answer"


# --- notice and licence ---------------------------------------------------------------------------------------------


def notice(settings: Settings) -> str:
    """Return the notice that people agree to before their first vote. Empty when the host asks for none."""
    if not settings.label_licence:
        return ""
    return f"{settings.label_notice or NOTICE} Licence of the votes: {settings.label_licence}."


def needs_consent(runtime: "Runtime", handle: str) -> bool:
    """Return whether this visitor has still to agree to the notice."""
    text = notice(runtime.settings)
    if not text:
        return False
    with runtime.database.read() as session:
        who = known_labeller(session, handle)
        return not (who and store.has_consent(session, who, **_terms(runtime.settings, text)))


def agree(runtime: "Runtime", handle: str) -> None:
    """Store that this visitor agrees to the notice. Do nothing when there is none."""
    text = notice(runtime.settings)
    if text:
        with runtime.database.write() as session:
            store.give_consent(session, labeller(session, handle), **_terms(runtime.settings, text))


def require_consent(runtime: "Runtime", handle: str) -> None:
    """Raise NotPermitted when this visitor has not agreed to the notice."""
    if needs_consent(runtime, handle):
        raise NotPermitted("Your vote is not saved yet.", "Read the notice and press I agree, then vote.")


def _terms(settings: Settings, text: str) -> dict[str, str]:
    return {"licence": settings.label_licence, "terms": hashlib.sha256(text.encode()).hexdigest()}


def cast(runtime: "Runtime", opened: OpenComparison, verdict: Verdict, handle: str) -> str:
    """Store a verdict of the page within the visitor's sitting, and return the label's id.

    Raise NotPermitted before the notice was agreed to, InvalidRequest when there is nothing to judge.
    """
    require_consent(runtime, handle)
    begin(runtime, handle)
    return judge(runtime, opened, verdict, handle)


def cast_late(runtime: "Runtime", kept: Sequence[Any], handle: str) -> tuple[dict[str, str], list[str]]:
    """Store votes that waited in the browser. Return the label of each token that is stored, and the tokens refused.

    Each is an object with `id` of the comparison, `votes` given on it before, and `key` of the verdict.
    """
    require_consent(runtime, handle)
    begin(runtime, handle)
    stored: dict[str, str] = {}
    refused = []
    for one in kept[:MOST_KEPT]:
        try:
            token, votes = f"{one['id']}:{one['votes']}", int(one["votes"])
            verdict = read_verdict(one["key"])
            stored[token] = judge_late(runtime, str(one["id"])[:26], verdict, handle, votes=votes)
        except (InvalidRequest, TypeError, ValueError):
            refused.append(f"{one['id']}:{one['votes']}")
    return stored, refused


# --- sittings -------------------------------------------------------------------------------------------------------


def sitting(runtime: "Runtime", handle: str) -> Sitting | None:
    """Return how far this visitor is. None when the host sets no goal; nothing is written for a visitor who looks."""
    goal = runtime.settings.session_goal
    if not goal:
        return None
    with runtime.database.read() as session:
        who = known_labeller(session, handle)
        return (store.open_sitting(session, who) if who else None) or Sitting("", goal, 0)


def begin(runtime: "Runtime", handle: str) -> None:
    """Begin a sitting, unless one is open or the host sets no goal. It must begin before the vote that it counts."""
    if runtime.settings.session_goal:
        with runtime.database.write() as session:
            store.begin_sitting(session, labeller(session, handle), goal=runtime.settings.session_goal)


def finish(runtime: "Runtime", handle: str) -> None:
    """Finish the open sitting of this visitor. The next vote begins another."""
    with runtime.database.write() as session:
        who = known_labeller(session, handle)
        if who:
            store.end_sitting(session, who)


def judge_aspects(runtime: "Runtime", label_id: str, values: dict[str, int]) -> None:
    """Store what a vote says of the aspects that the host asks for. Raise InvalidRequest for another, or no vote."""
    unknown = set(values) - set(runtime.settings.aspects)
    if unknown or not label_id:
        raise InvalidRequest("There is no such vote or aspect.", "Vote first, then judge the aspects shown.")
    with runtime.database.write() as session:
        store.judge_aspects(session, label_id, values)


# --- what counts ----------------------------------------------------------------------------------------------------


def standing(runtime: "Runtime", label_id: str) -> VoteStanding:
    """Return whether a vote counts, and why not. A vote that is not in force counts for nothing, without a reason."""
    with runtime.database.read() as session:
        rows = current_labels(session, label_id=label_id)
        own = current_labels(session, labeller_id=rows[0].labeller_id) if rows else []
    return standings(own).get(label_id, VoteStanding(False))


def integrity(runtime: "Runtime") -> Integrity:
    """Return how many of the people's votes count, why the others do not, and an alarm when that share moved."""
    return store.measure_votes(runtime.database)


# --- what comes next ------------------------------------------------------------------------------------------------


def next_prompt(runtime: "Runtime") -> str:
    """Return a random prompt of the host's queue. Raise InvalidRequest when a file of it cannot be read."""
    found: list[str] = []
    for source in (part.strip() for part in runtime.settings.prompt_queue.split(",") if part.strip()):
        if source == BUILT_IN:
            found += examples.offered(runtime.pool)
        elif source == VISITORS:
            with runtime.database.read() as session:
                found += typed_prompts(session, limit=MOST_PROMPTS)
        else:
            found += read_prompts(Path(source))
    return secrets.choice(found or examples.offered(runtime.pool))


@lru_cache(maxsize=8)
def read_prompts(path: Path) -> tuple[str, ...]:
    """Return the prompts of a file: one on each line, or in JSON lines under `prompt`. Raise InvalidRequest."""
    if path.suffix != ".jsonl":
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The prompts in {path.name} cannot be read.", "Correct the setting.") from error
        return tuple(line.strip() for line in lines if line.strip())
    return tuple(row["prompt"] for row in _rows(path, ("prompt",)))


def hidden(runtime: "Runtime", handle: str) -> OpenComparison | None:
    """Return a known-answer check or a repeat to show now, by the host's shares. None means an ordinary comparison."""
    drawn, settings = secrets.SystemRandom().random(), runtime.settings
    if settings.check_file is not None and drawn < settings.check_share:
        found = _check(runtime, settings.check_file, handle)
    elif 1 - drawn < settings.repeat_share:
        found = _repeat(runtime, handle)
    else:
        return None
    return from_store(runtime, found, handle) if found else None


def _repeat(runtime: "Runtime", handle: str) -> str:
    """Return a new comparison that repeats an old one of this visitor with exchanged sides. Empty when none is due."""
    with runtime.database.write() as session:
        who = known_labeller(session, handle)
        row = store.repeatable(session, who, gap=REPEAT_GAP) if who else None
        if row is None:
            return ""
        left = row.run_b if row.left_run == row.run_a else row.run_a
        return create_comparison(
            session,
            row.run_a,
            row.run_b,
            selection="duplicate",
            pair_propensity=None,
            left_run=left,
            judged=row.judged,
            duplicate_of=row.id,
        )


def _check(runtime: "Runtime", path: Path, handle: str) -> str:
    """Return a new comparison with a known answer that this visitor has not judged. Empty when none is left."""
    rows = list(_rows(path, ("prompt", "better", "worse")))
    with runtime.database.write() as session:
        who = known_labeller(session, handle)
        for row in secrets.SystemRandom().sample(rows, len(rows)):
            better, worse = (_known_run(session, row["prompt"], row[key]) for key in ("better", "worse"))
            if who and store.has_judged(session, who, better, worse):
                continue
            return create_comparison(
                session,
                better,
                worse,
                selection="check",
                pair_propensity=None,
                left_run=secrets.choice((better, worse)),
                check_answer=better,
            )
    return ""


def _rows(path: Path, keys: Sequence[str]) -> list[dict[str, str]]:
    """Return the objects of a file of JSON lines, each with a text under all `keys`. Raise InvalidRequest."""
    found = []
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            row = json.loads(line) if line.strip() else None
            if row is None:
                continue
            if not isinstance(row, dict) or not all(isinstance(row.get(key), str) and row[key] for key in keys):
                raise InvalidRequest(f"Line {number} of {path.name} lacks a text for {' or '.join(keys)}.", "Add it.")
            found.append(row)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path.name} cannot be read as JSON lines.", "Correct the file.") from error
    return found


def _known_run(session: "Session", prompt: str, text: str) -> str:
    """Return the stored run that says `text`, made on first use. No router decided it, and none learns from it."""
    run = "known-" + hashlib.sha256(f"{prompt}\n{text}".encode()).hexdigest()[:40]
    if session.get(RunRow, run) is None:
        one: Any = np.ones(1, np.float32)
        said: tuple[Event, ...] = (
            RunStarted(prompt, CHECK_ROUTER, CHECK_ROUTER, "prompt", ("base",), 0, 0, 0, run_id=run),
            Decided(one, one, "argmax", Scores("A person wrote this answer.", (0.0,), ()), run_id=run, seq=1),
            TokenGenerated(0, text, 0, one, None, None, 0.0, 0.0, (), run_id=run, seq=2),
            Finished(text, one, 1, 0, {}, "stop", run_id=run, seq=3),
        )
        save_run(session, said, prompt=prompt, sampling=Sampling(), base_model="")
    return run
