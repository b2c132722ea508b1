"""What the versions of a router show: their tree, the figures of one, the promotion rule, its value and its shadow."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isnan
from typing import TYPE_CHECKING

from playground.ui.format import age, plural, points, probability, shortened, signed
from playground.ui.views.finetune import metrics_html

if TYPE_CHECKING:
    from playground.actions.judgement import Judgement, ShadowReport
    from playground.core.records import LabelsOf, ShadowDecision, VersionInfo
    from playground.core.values import Pool
    from playground.learn.estimates.off_policy import OffPolicyValue, ValueEstimate
    from playground.learn.estimates.promotion import PromotionRule
    from playground.learn.labels.metrics import BeforeAfter

DEEPEST = 6  # levels that the tree indents; deeper ones stay there
MARKS = {True: ("✓", "holds"), False: ("✗", "fails"), None: ("?", "unknown")}


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


def tree_order(versions: Sequence["VersionInfo"]) -> list[tuple[int, "VersionInfo"]]:
    """Return (depth, version) with every version under its parent, newest first among those of one parent.

    A version whose parent is not listed stands at depth 0.
    """
    known = {version.id for version in versions}
    children: dict[str | None, list[VersionInfo]] = {}
    for version in versions:
        children.setdefault(version.parent if version.parent in known else None, []).append(version)
    ordered: list[tuple[int, VersionInfo]] = []
    waiting = [(0, version) for version in reversed(children.get(None, []))]
    while waiting:
        depth, version = waiting.pop()
        ordered.append((depth, version))
        waiting += [(depth + 1, child) for child in reversed(children.get(version.id, []))]
    return ordered


def versions_html(
    versions: Sequence["VersionInfo"], labels: Mapping[str, "LabelsOf"] | None = None, shadow: str = ""
) -> str:
    """Return the versions of a router as a tree: each stands under the one it was made from.

    The one in use is marked, and the one that decides beside it. Pressing one shows its figures.
    """
    if not versions:
        return '<p class="hint">No versions yet.</p>'
    rows = "".join(_version_row(depth, version, labels or {}, shadow) for depth, version in tree_order(versions))
    heads = ("state", "version", "labels that made it", "note", "gain", "made", "")
    head = "".join(f"<th{' class=num' if name == 'gain' else ''}>{name}</th>" for name in heads)
    table = f'<table class="plain versions"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _version_row(depth: int, version: "VersionInfo", labels: Mapping[str, "LabelsOf"], shadow: str) -> str:
    accuracy = (version.metrics.get("label_accuracy") or {}).get("gain") or {}
    gain = points(accuracy["value"]) if accuracy.get("value") is not None else ""
    name = escape(version.id)
    act = "" if version.is_current else f'<button type="button" class="quiet" data-id="{name}">promote</button>'
    mark = ' class="current" aria-current="true"' if version.is_current else ""
    state = "● in use" if version.is_current else "◌ shadow" if version.id == shadow else escape(version.state)
    branch = f'<span class="branch" style="margin-left:{14 * (min(depth, DEEPEST) - 1)}px">└ </span>' if depth else ""
    return (
        f"<tr{mark}><td>{state}</td>"
        f'<td class="tree">{branch}<button type="button" class="link version" data-id="{name}" '
        f'title="show its figures">{name}</button></td><td>{_labels(labels.get(version.id))}</td>'
        f'<td>{escape(version.note)}</td><td class="num">{gain}</td>'
        f'<td><time title="{version.created_at:%Y-%m-%d %H:%M} UTC">{age(version.created_at)}</time></td>'
        f"<td>{act}</td></tr>"
    )


def _labels(made: "LabelsOf | None") -> str:
    """Return the number of labels by part, and the first digits of their hash."""
    if made is None:
        return "–"
    parts = f"{made.train} to learn from, {made.valid} to watch, {made.test} held out; hash {made.hash}"
    return f'<span title="{escape(parts)}">{made.all} <span class="version">#{escape(made.hash[:6])}</span></span>'


def rule_html(rule: "PromotionRule | None") -> str:
    """Return the promotion rule in words, with the numbers of this version."""
    if rule is None:
        return ""
    lines = "".join(
        f'<li><span class="mark" role="img" aria-label="{MARKS[line.is_met][1]}">{MARKS[line.is_met][0]}</span> '
        f'{escape(line.demand)}: <b class="num">{escape(line.found)}</b></li>'
        for line in rule.lines
    )
    verdict = "This version passes the promotion rule." if rule.passes else "This version does not pass the rule."
    advice = f' <span class="hint">{escape(rule.advice)}</span>' if rule.advice else ""
    return f'<div class="rule"><h4>Promotion rule</h4><ul>{lines}</ul><p>{verdict}{advice}</p></div>'


def _estimate(value: "ValueEstimate") -> str:
    if isnan(value.value):
        return "–"
    interval = "" if isnan(value.low) else f" [{signed(f'{value.low:.3f}')}, {signed(f'{value.high:.3f}')}]"
    return signed(f"{value.value:.3f}") + interval


def value_html(judgement: "Judgement") -> str:
    """Return what logged answers say about a version beside the one in use, with a warning when it is too little."""
    title = "<h4>From answers that were drawn at random</h4>"
    if not judgement.values:
        return (
            f'<div class="off-policy">{title}<p class="hint">No judged answer was drawn at random yet. Compare with '
            "“an expert at random” on both sides, or let the router draw the expert, and vote.</p></div>"
        )
    return f'<div class="off-policy">{title}{"".join(_value_table(*one) for one in judgement.values)}</div>'


def _value_table(words: str, value: "OffPolicyValue", now: "OffPolicyValue") -> str:
    shown = value.has_verdict
    rows = "".join(
        f'<tr><td>{name}</td><td class="num">{_estimate(one)}</td><td class="num">{_estimate(other)}</td></tr>'
        for name, one, other in (
            ("doubly robust", value.doubly_robust, now.doubly_robust),
            ("SNIPS", value.snips, now.snips),
            ("IPS", value.ips, now.ips),
        )
    )
    agreed = (
        f"{value.effective:.0f} effective answers of {plural(value.rows, 'drawn answer')} "
        f"({now.effective:.0f} for the version in use). As served: {_estimate(value.logged)}."
    )
    clipped = f" {value.clipped:.0%} of the weights were clipped." if value.clipped else ""
    warning = (
        ""
        if shown
        else '<p class="trouble">Too few drawn answers agree with this version for a verdict: 50 effective ones are '
        "needed.</p>"
    )
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th>{escape(words)}</th><th class="num">this version</th>'
        f'<th class="num">in use</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="hint">{agreed}{clipped}</p>{warning}'
    )


def shadow_html(report: "ShadowReport | None", pool: "Pool") -> str:
    """Return on how many runs the shadow differs from what served, and where."""
    if report is None:
        return ""
    name = f'<span class="version">{escape(report.version)}</span>'
    if not report.runs:
        return (
            f'<div class="shadow"><h4>Shadow</h4><p>{name} decides beside the version in use from the next run on. '
            "It answers nobody.</p></div>"
        )
    titles = {expert.name: expert.title for expert in pool.experts}
    flows = "".join(
        f"<li>{escape(titles.get(old, old))} → {escape(titles.get(new, new))}: <b>{count}</b></li>"
        for old, new, count in report.flows
    )
    prompts = "".join(_shadow_row(one, titles) for one in report.decisions)
    share = probability(report.differing / report.runs)
    listed = f"<details><summary>the prompts</summary><ul>{prompts}</ul></details>" if prompts else ""
    return (
        f'<div class="shadow"><h4>Shadow</h4><p>{name} decided beside {plural(report.runs, "run")}. It would have '
        f"asked another expert for {report.differing} of them ({share}).</p><ul>{flows}</ul>{listed}</div>"
    )


def _shadow_row(one: "ShadowDecision", titles: Mapping[str, str]) -> str:
    old, new = one.top(one.served), one.top(one.shadowed)
    return (
        f'<li><button type="button" class="link" data-id="{escape(one.prompt)}" title="open in the Playground">'
        f"{escape(shortened(one.prompt, 90))}</button> {escape(titles.get(old, old))} → "
        f"{escape(titles.get(new, new))}</li>"
    )
