"""What a fine-tune shows: the labels it reads, its curve, before and after, the prompts that changed, the versions."""

import math
from collections.abc import Mapping, Sequence
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
    from playground.learn.labels.metrics import BeforeAfter, Figure
    from playground.learn.labels.trainer import RoutingChange

FEW_PROMPTS = 30
FEW_LABELS = 10  # with fewer labels, an interval over prompts is not reliable
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
        f'<p class="hint">Compare about {missing} more prompts for a result you can trust. '
        "One prompt in five is kept for testing.</p>"
        if missing > 0
        else '<p class="hint">One prompt in five is kept for testing and is used only at the end.</p>'
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


def _signed_gain(name: str, gain: "Figure") -> str:
    has_interval = not math.isnan(gain.low)
    if name != "log_loss":
        return points(gain.value, *((gain.low, gain.high) if has_interval else (None, None)))
    told = signed(f"{gain.value:+.3f}")
    return told + (f" [{signed(f'{gain.low:+.3f}')}, {signed(f'{gain.high:+.3f}')}]" if has_interval else "")


def _metric_row(name: str, metric: "BeforeAfter") -> str:
    before, after, gain = metric.before, metric.after, metric.gain
    known = not math.isnan(after.value)
    has_interval = known and not math.isnan(gain.low)
    words = noise_words(gain.low, gain.high) if has_interval and after.n >= FEW_LABELS else "too few to tell"
    return (
        f"<tr><td>{METRIC_WORDS.get(name, escape(name.replace('_', ' ')))}</td>"
        f'<td class="num">{probability(before.value)}</td><td class="num">{probability(after.value)}</td>'
        f'<td class="num">{_signed_gain(name, gain) if known else "–"}</td><td class="words">{words}</td>'
        f'<td class="num">{after.n}</td></tr>'
    )


def metrics_html(metrics: Mapping[str, "BeforeAfter"]) -> str:
    """Return the table of figures before and after. In the column of gains, above 0 is better in every row."""
    heads = ("on held-out prompts", "before", "after", "gain", "", "labels")
    head = "".join(f"<th{' class=num' if i in (1, 2, 3, 5) else ''}>{name}</th>" for i, name in enumerate(heads))
    rows = "".join(_metric_row(name, metric) for name, metric in metrics.items())
    return (
        f'<div class="scroll"><table class="plain metrics"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def change_html(change: "RoutingChange", pool: Pool) -> str:
    """Return one prompt with its weights before and after. Experts with little weight in both are left out."""
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
    warnings = "".join(f'<p class="hint">{escape(warning)}</p>' for warning in result.warnings)
    changed = [change for change in result.changed if change.moved >= MARGIN]
    told = (
        f"Your labels moved {result.moved} of {plural(result.probes, 'test prompt')} to another expert."
        if result.moved
        else f"None of the {result.probes} test prompts goes to another expert. Only the weights below changed."
    )
    drawn = [change_html(change, pool) for change in changed]
    listed = "".join(drawn[:SHOWN_AT_FIRST]) or '<p class="hint">No weight changed.</p>'
    rest = "".join(drawn[SHOWN_AT_FIRST:])
    if rest:
        listed += (
            f'<details><summary>{len(drawn) - SHOWN_AT_FIRST} more</summary><div class="changed">{rest}</div></details>'
        )
    return (
        f'<div class="outcome"><h3>Before and after</h3>{metrics_html(result.metrics)}{warnings}<h3>{told}</h3>'
        f'{_list_words(changed)}<p class="hint">The new version is a draft: <span class="version">'
        f'{escape(result.version)}</span></p><div class="changed">{listed}</div></div>'
    )


def _list_words(changed: Sequence["RoutingChange"]) -> str:
    """Return what the list of prompts below holds: the largest changes, of which not all chose another expert."""
    if not changed:
        return ""
    moved = sum(int(change.before.argmax() != change.after.argmax()) for change in changed)
    shown = plural(len(changed), "prompt")
    return (
        f'<p class="hint">The list shows {shown} with the largest changes. {moved} of them went to another expert.</p>'
    )


def version_html(version: "VersionInfo", figures: Mapping[str, "BeforeAfter"]) -> str:
    """Return one stored version with its figures, and the question whether to use it when it is not in use."""
    parent = version.parent or ""
    moved, probes = version.metrics.get("moved"), version.metrics.get("probes")
    facts = [escape(version.note)] if version.note else []
    if parent:
        facts.append(f'made from <span class="version">{escape(parent)}</span>')
    if moved is not None and probes:
        facts.append(f"{moved} of {plural(probes, 'test prompt')} went to another expert")
    told = metrics_html(figures) if figures else '<p class="hint">No figures are stored for this version.</p>'
    asked = "" if version.is_current else f"<p>{_question(version, figures)}</p>"
    return (
        f'<h3><span class="version">{escape(version.id)}</span></h3><p class="hint">{" · ".join(facts)}</p>'
        f"{told}{asked}"
    )


def _question(version: "VersionInfo", figures: Mapping[str, "BeforeAfter"]) -> str:
    accuracy = figures.get("label_accuracy")
    if accuracy is None or not accuracy.gain.value < 0:
        return "Use this version from the next run on?"
    lost = points(accuracy.gain.value)
    return f"It agrees less with the held-out labels than the version before: {lost}. Use it from the next run on?"


def versions_html(versions: Sequence["VersionInfo"]) -> str:
    """Return the versions of a router, newest first. The one in use is marked. Pressing one shows its figures."""
    if not versions:
        return '<p class="hint">No versions yet.</p>'
    rows = ""
    for version in versions:
        accuracy = (version.metrics.get("label_accuracy") or {}).get("gain") or {}
        gain = points(accuracy["value"]) if accuracy.get("value") is not None else ""
        name = escape(version.id)
        act = "" if version.is_current else f'<button type="button" class="quiet" data-id="{name}">promote</button>'
        mark = ' class="current" aria-current="true"' if version.is_current else ""
        rows += (
            f"<tr{mark}><td>{'● in use' if version.is_current else escape(version.state)}</td>"
            f'<td><button type="button" class="link version" data-id="{name}" title="show its figures">{name}</button>'
            f"</td><td>{escape(version.note)}</td>"
            f'<td class="num">{gain}</td><td><time title="{version.created_at:%Y-%m-%d %H:%M} UTC">'
            f"{age(version.created_at)}</time></td><td>{act}</td></tr>"
        )
    head = "<th>state</th><th>version</th><th>note</th><th class='num'>gain</th><th>made</th><th></th>"
    table = f'<table class="plain versions"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'
