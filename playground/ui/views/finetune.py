"""What a fine-tune shows: the labels it reads, its curve, before and after, and the prompts that changed."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from playground.core.values import Pool
from playground.ui.format import noise_words, plural, points, probability, shortened, signed
from playground.ui.palette import looks
from playground.ui.views.named import weight_bars
from playground.ui.wire import NoteLine, PointLine, opening, record

if TYPE_CHECKING:
    from playground.actions.finetune import LabelCount
    from playground.actions.finetune_job import JobState
    from playground.actions.finetune_outcome import FineTuned
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


def point_line(point: Mapping[str, Any]) -> str:
    """Return the line of one point of the learning curve."""
    return record(PointLine(**point))


def note_line(sentence: str) -> str:
    """Return the line of a sentence under the curve."""
    return record(NoteLine(sentence=sentence))


def job_lines(job: "JobState | None", nonce: str) -> str:
    """Return the learning curve of a fine-tune, with a sentence on where it stands. `nonce` starts the curve afresh."""
    if job is None:
        return opening(nonce)
    points = "".join(point_line(point) for point in job.info.curve)
    words = job_words(job)
    return opening(nonce) + points + (note_line(words) if words else "")


def job_words(job: "JobState") -> str:
    """Return where a fine-tune stands, in a sentence. Empty while its curve says it."""
    curve = job.info.curve
    where = f" at step {curve[-1]['step']} of {curve[-1]['steps']}" if curve else " before its first step"
    if job.state == "running":
        return "" if curve else "reading the labels"
    return {
        "stopped": f"stopped{where}: its program was killed. Resume it, or clear it",
        "cancelled": f"cancelled{where}, the version in use is unchanged",
        "failed": job.info.ended,
        "done": "done",
    }[job.state]


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


def outcome_html(result: "FineTuned", pool: Pool, rule: str = "") -> str:
    """Return before and after on held-out prompts, the promotion `rule`, and the prompts whose routing changed."""
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
        f'<div class="outcome"><h3>Before and after</h3>{metrics_html(result.metrics)}{warnings}{rule}<h3>{told}</h3>'
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
