"""The table of labels."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from playground.core.values import Pool
from playground.ui.format import age, plural, shortened
from playground.ui.palette import looks
from playground.ui.views.named import chip

if TYPE_CHECKING:
    from playground.core.records import LabelRow, Side

SHOWN = 200
NO_LABELS = "No labels yet."
OWN_ONLY = "The host of this page shows you your own labels only."
NO_OWN_LABELS = f"You gave no labels yet. {OWN_ONLY}"
EMPTY = (
    f'<div class="empty"><p>{NO_LABELS}</p><p class="hint">Your first vote takes about 20 seconds.</p>'
    '<button type="button" class="example" data-id="compare">Compare two answers</button></div>'
)
PAIR_WORDS = {"uniform": "random pair", "uncertainty": "uncertain pair", "manual": "chosen pair"}
SOURCE_WORDS = {"human": "person"}
NO_MATCH = '<div class="empty"><p>No label matches these filters.</p></div>'


def _answer(side: "Side", pool: Pool) -> str:
    mark = chip(looks([side.expert], pool)[0], title=False) if side.expert else ""
    return f"<td title='{escape(side.router)} · {escape(side.version)}'>{mark} {escape(shortened(side.text, 70))}</td>"


def _row(row: "LabelRow", pool: Pool, mine: str) -> str:
    left, right = row.shown_sides
    reason = escape(" · ".join([*row.tags, *([shortened(row.rationale, 80)] if row.rationale else [])]))
    undo = (
        f'<button type="button" class="quiet" data-undo="{escape(row.label_id)}">undo</button>'
        if row.labeller_id == mine
        else ""
    )
    pair = PAIR_WORDS.get(row.selection, row.selection)
    if row.pair_propensity is not None:
        pair += f" {row.pair_propensity:.3f}"
    source = escape(SOURCE_WORDS.get(row.source, row.source))
    blind = (
        "" if not row.revealed_before else ' <span class="muted" title="voted after the names were shown">(seen)</span>'
    )
    return (
        f'<tr><td><time title="{row.created_at:%Y-%m-%d %H:%M:%S} UTC">{age(row.created_at)}</time></td>'
        f'<td><button type="button" class="link" data-id="{escape(row.label_id)}">'
        f"{escape(shortened(row.prompt, 70))}</button></td>"
        f"{_answer(left, pool)}{_answer(right, pool)}<td>{escape(row.shown_verdict.text)}{blind}</td>"
        f'<td>{reason}</td><td class="muted">{escape(row.labeller)}</td><td class="muted">{source}</td>'
        f'<td class="muted">{escape(pair)}</td><td>{undo}</td></tr>'
    )


def labels_html(rows: Sequence["LabelRow"], pool: Pool, *, mine: str, total: int, are_all_shown: bool = True) -> str:
    """Return the newest rows as a table.

    `total` is how many rows there are without filters. The votes of `mine` can be undone. Unless `are_all_shown`, these
    are the visitor's own.
    """
    if not total:
        return EMPTY if are_all_shown else EMPTY.replace(NO_LABELS, NO_OWN_LABELS)
    if not rows:
        return NO_MATCH
    heads = ("when", "prompt", "A", "B", "verdict", "why", "who", "source", "pair", "")
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(_row(row, pool, mine) for row in rows[:SHOWN])
    shown = "" if len(rows) <= SHOWN else f". The newest {SHOWN} are shown. The export has all"
    told = f"{plural(len(rows), 'label')} of {total}{shown}{'' if are_all_shown else f'. {OWN_ONLY}'}"
    table = f'<table class="plain labels"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<p class="hint">{told}</p><div class="scroll">{table}</div>'
