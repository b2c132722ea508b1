"""What the Compare tab shows after a vote: who answered, with which weights, and the list of recent votes."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from playground.core.fold import ViewState
from playground.core.integrity import VoteStanding
from playground.core.preferences import Verdict
from playground.core.values import Pool
from playground.ui.format import age, duration, plural, shortened
from playground.ui.palette import looks
from playground.ui.views.named import chip, weight_bars

if TYPE_CHECKING:
    from playground.actions.collecting import Sitting
    from playground.core.records import LabelRow

LEAST_WEIGHT = 0.0005
SIDE = (
    '<section class="side" data-state="empty" aria-label="Answer {letter}"><header><b>{letter}</b>'
    '<button type="button" class="side-whole" aria-label="Answer {letter} in full screen" aria-pressed="false">⤢'
    '</button></header><div class="side-answer" dir="auto" tabindex="0"></div>'
    '<footer class="side-foot"></footer></section>'
)


def _bars(experts: Sequence[str], weights: np.ndarray, pool: Pool) -> str:
    """Return bars in pool order with mark, name and percent. Experts without weight are left out."""
    shown = [i for i, weight in enumerate(weights) if weight > LEAST_WEIGHT]
    return weight_bars(looks(experts, pool), weights.tolist(), shown)


def _forced(state: ViewState) -> str:
    """Return the expert that had to answer alone. Empty when a router decided."""
    if state.decided is None or state.decided.scheme != "override":
        return ""
    return state.pool[int(np.argmax(state.decided.weights))]


def _stood_in(state: ViewState) -> bool:
    """Return whether another expert answered in place of the one that had to: a tool that could not."""
    return bool(_forced(state)) and state.top_expert not in ("", _forced(state))


def _title(expert: str, pool: Pool) -> str:
    return escape(looks([expert], pool)[0].title)


def _side(letter: str, state: ViewState, pool: Pool) -> str:
    weights = state.weights
    if state.started is None or weights is None:
        return f'<div class="reveal-side"><b>{letter}</b> did not answer</div>'
    forced = _forced(state)
    name = "" if forced else f'<span class="router-name">{escape(state.started.router)}</span> → '
    total = state.finished.timings.get("total_s") if state.finished else None
    facts = [plural(len(state.tokens), "token")] + ([duration(total)] if total else [])
    if _stood_in(state):
        facts.append(f"in place of {_title(forced, pool)}, which could not answer this")
    version = "" if forced else f'<span class="muted version">{escape(state.started.version)}</span>'
    top = chip(looks([state.top_expert or forced], pool)[0])
    told = " · ".join(facts)
    return (
        f'<div class="reveal-side"><header><b>{letter}</b> {name}{top}<span class="muted">{told}</span>'
        f"</header>{_bars(state.pool, weights, pool)}{version}</div>"
    )


def reveal_html(states: Sequence[ViewState], verdict: Verdict | None, pool: Pool) -> str:
    """Return who was A and who was B, with weights and times.

    Above it stands what was saved just now; nothing for a verdict of None.
    """
    sides = "".join(_side(letter, state, pool) for letter, state in zip("AB", states, strict=True))
    saved = "" if verdict is None else f'<p class="saved">{saved_sentence(states, verdict, pool)}</p>'
    return f'{saved}<div class="reveal">{sides}</div>'


def standing_html(standing: VoteStanding) -> str:
    """Return the sentence on a vote that does not count, and why. Empty for a vote that counts."""
    if standing.counts or not standing.reason:
        return ""
    return f'<p class="not-counted">Saved, and not counted: {escape(standing.reason)}.</p>'


def progress_html(sitting: "Sitting | None") -> str:
    """Return how far a sitting is, with a bar. Empty without a goal."""
    if sitting is None:
        return ""
    done = min(sitting.done, sitting.goal)
    words = f"{sitting.done} of {sitting.goal}"
    if sitting.is_reached:
        words += ": done. Thank you. Finish, or go on."
    return (
        f'<div class="sitting"><progress max="{sitting.goal}" value="{done}" aria-label="judged so far"></progress>'
        f"<span>{words}</span></div>"
    )


def _name(state: ViewState, pool: Pool) -> str:
    """Return who answered, as the label credits it: not a tool that could not."""
    forced = _forced(state)
    if not forced and state.started is not None:
        return escape(state.started.router)
    if _stood_in(state):
        return f"{_title(state.top_expert, pool)} (in place of {_title(forced, pool)})"
    return _title(forced, pool)


def saved_sentence(states: Sequence[ViewState], verdict: Verdict, pool: Pool) -> str:
    """Return `Saved ✓ You preferred Word problems over Base model.`"""
    first, second = (_name(state, pool) for state in states)
    told = {
        "a": f"You preferred {first} over {second}.",
        "b": f"You preferred {second} over {first}.",
        "tie": f"A tie between {first} and {second}.",
        "bad": f"Both were bad: {first} and {second}.",
        "skip": f"Skipped: {first} and {second}. A router learns nothing from a skip.",
    }[verdict.choice]
    return f"Saved ✓ {told}"


def votes_html(rows: Sequence["LabelRow"], pool: Pool) -> str:
    """Return the newest votes. Pressing one opens its comparison."""
    if not rows:
        return '<p class="hint">Your last ten votes will be listed here. Press one to see it again or to change it.</p>'
    items = ""
    for row in rows:
        left, right = row.shown_sides
        marks = [chip(looks([side.expert], pool)[0], title=False) if side.expert else "" for side in (left, right)]
        items += (
            f'<button type="button" class="recent vote-row" data-id="{escape(row.label_id)}">'
            f'<span class="vote-marks">{marks[0]}{marks[1]}</span>'
            f'<span class="recent-prompt">{escape(shortened(row.prompt, 60))}</span>'
            f'<span class="muted">{escape(row.shown_verdict.text)} · {age(row.created_at)}</span></button>'
        )
    return f'<div class="recents">{items}</div>'
