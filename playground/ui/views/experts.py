"""The cards of the experts, and the checklist of a new adapter. All text is escaped, because anybody can write it."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from playground.core.adapter_format import base_leaf
from playground.core.checklist import Checklist, Line
from playground.core.daily import DAYS, DailyUse
from playground.core.values import Expert, Pool
from playground.ui.format import shortened
from playground.ui.palette import Look, look_of
from playground.ui.views.named import chip, daily_use

if TYPE_CHECKING:
    from playground.experts.adapters.facts import AdapterFacts

KIND_WORDS = {
    "base": "the shared model",
    "lora": "adapter",
    "tool": "exact tool",
    "endpoint": "remote model",
    "strategy": "reasoning method",
}
NON_COMMERCIAL = re.compile(r"\bnc\b|non-?\s?commercial", re.IGNORECASE)
STATES = {"pass": ("✓", "passed"), "warn": ("!", "doubtful"), "fail": ("✕", "failed")}
SHOWN_EXAMPLES = 4


def pool_choices(pool: Pool) -> list[dict[str, Any]]:
    """Return the experts that can be ticked, as JSON-ready values in pool order."""
    return [vars(look_of(expert)) | {"ready": expert.ready, "reason": expert.reason} for expert in pool.experts]


def experts_html(
    experts: Sequence[Expert],
    facts: "Mapping[str, AdapterFacts]",
    *,
    use: DailyUse | None = None,
    can_remove: bool = False,
) -> str:
    """Return a card for each expert, in pool order. `facts`, by name, say what the files of an adapter hold."""
    cards = "".join(_card(expert, facts.get(expert.name), use, can_remove) for expert in experts)
    return f'<div class="expert-grid">{cards}</div>'


def _card(expert: Expert, facts: "AdapterFacts | None", use: DailyUse | None, can_remove: bool) -> str:
    look = look_of(expert)
    kind = f"{escape(look.icon)} {KIND_WORDS.get(expert.kind, expert.kind)}{', added' if expert.is_added else ''}"
    state = "" if expert.ready else f'<p class="not-ready">not ready: {escape(expert.reason)}</p>'
    return (
        f'<article class="expert-card" data-expert="{escape(expert.name)}">'
        f'<header>{chip(look)}<span class="muted kind">{kind}</span></header>'
        f"<p>{escape(expert.description)}</p>{state}{_notice(expert)}"
        f"<dl>{_use(look, use)}{_rows(expert, facts)}</dl>{_files(facts)}{_examples(expert)}"
        f"{_removal(expert, can_remove)}</article>"
    )


def _use(look: Look, use: DailyUse | None) -> str:
    """Return a bar per day, today last. A full bar is the largest share that any expert had on these days."""
    if use is None:
        return ""
    if look.name not in use.shares:
        return f'<dt>use</dt><dd class="muted">not used in {DAYS} days</dd>'
    drawn = daily_use(
        look.slot,
        days=[f"{day:%d %b}" for day in use.days],
        shares=[round(float(share), 4) for share in use.shares[look.name]],
        runs=[int(runs) for runs in use.runs],
        highest=round(float(use.highest), 4),
        overall=round(float(use.overall(look.name)), 4),
    )
    return f'<dt>use</dt><dd class="use">{drawn}</dd>'


def _notice(expert: Expert) -> str:
    if not NON_COMMERCIAL.search(expert.licence):
        return ""
    return '<p class="notice">Non-commercial: its licence does not allow commercial use.</p>'


def _rows(expert: Expert, facts: "AdapterFacts | None") -> str:
    told = [
        ("licence", expert.licence),
        ("trained on", expert.trained_on),
        ("measured", expert.figure),
        ("from", _origin(expert.source)),
    ]
    if facts:
        kind = ", rank-stabilised" if facts.is_stabilised else ""
        told += [
            ("size", f"{facts.size / 1e6:.1f} MB"),
            ("LoRA", f"rank {facts.rank}, alpha {facts.alpha:g}{kind}"),
            ("acts on", ", ".join(facts.targets)),
            ("base", base_leaf(facts.base)),
        ]
    return "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in told if value)


def _origin(source: str) -> str:
    """Return where an adapter came from, without folders of the server."""
    return source.rstrip("/").rpartition("/")[2] if source.startswith(("/", "~", ".")) else source


def _files(facts: "AdapterFacts | None") -> str:
    if not facts:
        return ""
    items = "".join(
        f"<li>{escape(file.name)}, {file.size:,} bytes<br><code>{escape(file.sha256)}</code></li>"
        for file in facts.files
    )
    return f"<details><summary>files and SHA-256</summary><ul>{items}</ul></details>"


def _examples(expert: Expert) -> str:
    buttons = "".join(
        f'<button type="button" class="example" data-id="{escape(expert.name)}:{i}" title="{escape(example)}">'
        f"{escape(shortened(example, 60))}</button>"
        for i, example in enumerate(expert.examples[:SHOWN_EXAMPLES])
    )
    return f'<div class="examples"><span class="muted">try it alone</span>{buttons}</div>' if buttons else ""


def _removal(expert: Expert, can_remove: bool) -> str:
    if not (expert.is_added and can_remove):
        return ""
    return f'<button type="button" class="quiet remove" data-id="remove/{escape(expert.name)}">remove …</button>'


def checklist_html(checklist: Checklist, label: str) -> str:
    """Return each line with its sign, its state in words for screen readers, and its remedy."""
    failure = checklist.failure
    told = "can be added" if failure is None else "cannot be added"
    items = "".join(_line(line) for line in checklist.lines)
    return f'<div class="checklist"><p><b>{escape(shortened(label, 80))}</b> {told}.</p><ul>{items}</ul></div>'


def _line(line: Line) -> str:
    sign, words = STATES[line.state]
    remedy = f' <span class="muted">{escape(line.remedy)}</span>' if line.remedy else ""
    title = f'<b>{escape(line.title)}</b><span class="pg-unseen"> {words}: </span>'
    return (
        f'<li data-state="{line.state}"><span class="sign" aria-hidden="true">{sign}</span>'
        f"<span>{title} {escape(_sentence(line.detail))}{remedy}</span></li>"
    )


def _sentence(text: str) -> str:
    """Return `text` with a capital, unless it begins with the name of a file or a module."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def working_html(words: str) -> str:
    """Return what stands in place of the checklist during the check."""
    return f'<div class="checklist"><p class="muted">{escape(words)}</p></div>'
