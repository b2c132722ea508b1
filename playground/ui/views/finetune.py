"""What a fine-tune shows: the labels it reads, its curve, before and after, the prompts that changed, the versions."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from playground.core.values import Pool
from playground.ui.format import age, noise_words, plural, points, probability, shortened, signed
from playground.ui.palette import looks
from playground.ui.views.named import weight_bars
from playground.ui.wire import NoteLine, PointLine, record

if TYPE_CHECKING:
    from playground.actions.finetune import FineTuned, LabelCount
    from playground.core.records import VersionInfo
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.metrics import BeforeAfter
    from playground.learn.labels.trainer import RoutingChange

FEW_PROMPTS = 30
FEW_LABELS = 10  # below this an interval over prompts says more than it knows
SHOWN_AT_FIRST = 8
METRIC_WORDS = {
    "label_accuracy": "agrees with the labels",
    "ranking_accuracy": "ranks the winner's expert higher",
    "log_loss": "log-loss (less is better)",
}
MARGIN = 0.005


def facts_html(count: "LabelCount", version: str) -> str:
    """Return what there is to learn from, and a warning when it is little."""
    told = [
        f"<b>{plural(count.labels, 'label')}</b>",
        plural(count.prompts, "prompt"),
        f"{count.people} {'person' if count.people == 1 else 'people'}",
    ]
    if count.skipped:
        told.append(f"{count.skipped} skipped")
    if version:
        told.append(f'in use: <span class="version">{escape(version)}</span>')
    items = "".join(f"<span>{item}</span>" for item in told)
    missing = FEW_PROMPTS - count.prompts
    hint = (
        f'<p class="hint">About {missing} more prompts would give a usable before and after; '
        "a fifth is held out by prompt.</p>"
        if missing > 0
        else '<p class="hint">A fifth of the prompts is held out and only looked at in the end.</p>'
    )
    return f'<p class="tune-facts">{items}</p>{hint}'


def _finite(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None


def point_line(step: "FitProgress") -> str:
    """Return the line of one point of the learning curve."""
    point = PointLine(
        step=step.step,
        steps=step.steps,
        training_loss=_finite(step.train_loss),
        held_out_loss=_finite(step.valid_loss),
        held_out_accuracy=_finite(step.valid_accuracy),
    )
    return record(point)


def note_line(sentence: str) -> str:
    """Return the line of a sentence under the curve."""
    return record(NoteLine(sentence=sentence))


def _metric_row(name: str, metric: "BeforeAfter") -> str:
    before, after, gain = metric.before, metric.after, metric.gain
    known = not math.isnan(after.value)
    has_interval = known and not math.isnan(gain.low)
    limits = (gain.low, gain.high) if has_interval else (None, None)
    if name == "log_loss":
        moved = signed(f"{gain.value:+.3f}") if known else "–"
        if has_interval:
            moved += f" [{signed(f'{gain.low:+.3f}')}, {signed(f'{gain.high:+.3f}')}]"
    else:
        moved = points(gain.value, *limits) if known else "–"
    words = noise_words(*limits) if has_interval and after.n >= FEW_LABELS else "too few to tell"
    return (
        f"<tr><td>{METRIC_WORDS.get(name, escape(name.replace('_', ' ')))}</td>"
        f'<td class="num">{probability(before.value)}</td><td class="num">{probability(after.value)}</td>'
        f'<td class="num">{moved}</td><td class="words">{words}</td><td class="num">{after.n}</td></tr>'
    )


def change_html(change: "RoutingChange", pool: Pool) -> str:
    """Return one prompt with the weights it had and the weights it gets; only experts that matter on either side."""
    either = [i for i in range(len(change.experts)) if max(change.before[i], change.after[i]) >= 0.02]
    prompt, faces = escape(change.prompt), looks(change.experts, pool)
    before, after = (
        weight_bars(faces, weights.tolist(), either, title=False) for weights in (change.before, change.after)
    )
    return (
        f'<div class="change"><button type="button" class="link" data-id="{prompt}" title="open in the Playground">'
        f"{escape(shortened(change.prompt, 120))}</button>"
        f'<div><span class="when">before</span>{before}</div>'
        f'<div><span class="when">after</span>{after}</div></div>'
    )


def outcome_html(result: "FineTuned", pool: Pool) -> str:
    """Return before and after on held-out prompts, then the prompts whose routing changed, most changed first."""
    heads = ("on held-out prompts", "before", "after", "gain", "", "labels")
    head = "".join(f"<th{' class=num' if i in (1, 2, 3, 5) else ''}>{name}</th>" for i, name in enumerate(heads))
    rows = "".join(_metric_row(name, metric) for name, metric in result.metrics.items())
    warnings = "".join(f'<p class="hint">{escape(warning)}</p>' for warning in result.warnings)
    changed = [change for change in result.changed if change.moved >= MARGIN]
    told = (
        f"Your labels moved {result.moved} of {plural(result.probes, 'test prompt')} to another expert."
        if result.moved
        else f"No test prompt of {result.probes} goes to another expert; the weights below moved."
    )
    drawn = [change_html(change, pool) for change in changed]
    listed = "".join(drawn[:SHOWN_AT_FIRST]) or '<p class="hint">No weight moved.</p>'
    rest = "".join(drawn[SHOWN_AT_FIRST:])
    if rest:
        listed += (
            f'<details><summary>{len(drawn) - SHOWN_AT_FIRST} more</summary><div class="changed">{rest}</div></details>'
        )
    return (
        f'<div class="outcome"><h3>Before and after</h3><table class="plain metrics"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{warnings}<h3>{told}</h3>"
        f'<p class="hint">The new version is a draft: <span class="version">{escape(result.version)}</span></p>'
        f'<div class="changed">{listed}</div></div>'
    )


def versions_html(versions: Sequence["VersionInfo"]) -> str:
    """Return the history of a router, newest first, the one in use marked; each other one can be put in force."""
    if not versions:
        return '<p class="hint">No versions yet.</p>'
    rows = ""
    for version in versions:
        accuracy = (version.metrics.get("label_accuracy") or {}).get("gain") or {}
        gain = points(accuracy["value"]) if accuracy.get("value") is not None else ""
        act = (
            ""
            if version.is_current
            else f'<button type="button" class="quiet" data-id="{escape(version.id)}">promote</button>'
        )
        mark = ' class="current" aria-current="true"' if version.is_current else ""
        rows += (
            f"<tr{mark}><td>{'● in use' if version.is_current else escape(version.state)}</td>"
            f'<td><span class="version">{escape(version.id)}</span></td><td>{escape(version.note)}</td>'
            f'<td class="num">{gain}</td><td><time title="{version.created_at:%Y-%m-%d %H:%M} UTC">'
            f"{age(version.created_at)}</time></td><td>{act}</td></tr>"
        )
    head = "<th>state</th><th>version</th><th>note</th><th class='num'>gain</th><th>made</th><th></th>"
    table = f'<table class="plain versions"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'
