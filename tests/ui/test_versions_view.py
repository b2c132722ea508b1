"""The list of versions as a tree, the promotion rule in words, estimates, and the shadow."""

from datetime import UTC, datetime
from typing import Any

import pytest

from playground.actions.finetune_job import JobState
from playground.actions.judgement import Judgement, ShadowReport
from playground.core.records import LabelsOf, ShadowDecision, VersionInfo
from playground.learn.estimates.off_policy import OffPolicyValue, ValueEstimate
from playground.learn.estimates.promotion import PromotionLine, PromotionRule
from playground.store.trainings import TrainingInfo
from playground.ui.views.aspects import hint_html
from playground.ui.views.finetune import job_lines, job_words
from playground.ui.views.versions import rule_html, shadow_html, tree_order, value_html, versions_html

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PAYLOAD = "<img src=x>"


def version(name: str, parent: str | None = None, state: str = "draft") -> VersionInfo:
    return VersionInfo(name, "linear", "prompt", parent, NOW, PAYLOAD, state=state)


def test_every_version_stands_under_its_parent_and_none_is_lost() -> None:
    listed = [version("d", "b"), version("c", "a"), version("b", "a"), version("x", "gone"), version("a")]
    assert [(depth, one.id) for depth, one in tree_order(listed)] == [
        (0, "x"), (0, "a"), (1, "c"), (1, "b"), (2, "d"),
    ]  # fmt: skip


def test_the_tree_names_the_labels_and_the_shadow_and_escapes() -> None:
    labels = {"b": LabelsOf(7, 1, 2, "abcdef0123")}
    html = versions_html([version("b", "a"), version("a", state="current")], labels, "b")
    assert '10 <span class="version">#abcdef</span>' in html
    assert "7 to learn from, 1 to watch, 2 held out" in html
    assert "◌ shadow" in html
    assert html.count("└") == 1
    assert PAYLOAD not in html


def test_the_rule_is_told_line_by_line() -> None:
    lines = (PromotionLine("a", "1", True), PromotionLine("b", "2", False), PromotionLine("c", "–", None))
    html = rule_html(PromotionRule(lines, "More labels."))
    for word in ("holds", "fails", "unknown", "does not pass", "More labels."):
        assert word in html
    assert "passes the promotion rule" in rule_html(PromotionRule(lines[:1]))
    assert rule_html(None) == ""


def test_estimates_without_enough_answers_carry_a_warning() -> None:
    some = ValueEstimate(0.6, 0.5, 0.7)

    def value(effective: float) -> OffPolicyValue:
        return OffPolicyValue(some, some, some, some, effective, 80, 0.1, 0)

    assert "Too few drawn answers" in value_html(Judgement(None, (("wins", value(49.9), value(80)),)))
    enough = value_html(Judgement(None, (("wins", value(50), value(80)),)))
    assert "Too few" not in enough
    assert "0.600 [0.500, 0.700]" in enough
    assert "10% of the weights were clipped" in enough
    assert "No judged answer was drawn at random yet" in value_html(Judgement(None, ()))


def test_a_shadow_says_where_it_differs(runtime: Any) -> None:
    one = ShadowDecision("r", PAYLOAD, "v1", "v2", ("base", "math"), (0.9, 0.1), (0.2, 0.8))
    html = shadow_html(ShadowReport("v2", 4, 1, (("base", "math", 1),), (one,)), runtime.pool)
    assert "decided beside 4 runs" in html
    assert "for 1 of them (0.250)" in html
    assert "Base model → Word problems: <b>1</b>" in html
    assert PAYLOAD not in html
    assert "answers nobody" in shadow_html(ShadowReport("v2", 0, 0, (), ()), runtime.pool)
    assert shadow_html(None, runtime.pool) == ""


@pytest.mark.parametrize(
    ("state", "words"),
    [("running", ""), ("stopped", "Resume it, or clear it"), ("cancelled", "unchanged"), ("failed", "no disk")],
)
def test_a_job_says_where_it_stands(state: str, words: str) -> None:
    point = {"step": 3, "steps": 40, "training_loss": 0.5, "held_out_loss": None, "held_out_accuracy": None}
    info = TrainingInfo(
        "t", "linear", "v1", "dpo", {}, "", state, NOW, None, NOW, 9, 0.1, None, "no disk", (point,), {}
    )  # fmt: skip
    job = JobState(info, state)
    assert words in job_words(job)
    lines = job_lines(job, "n").splitlines()
    assert len(lines) == (2 if state == "running" else 3)
    assert job.can_resume is (state in ("stopped", "cancelled"))


def test_without_reasons_the_dial_says_what_is_missing() -> None:
    assert "No vote gives a reason yet" in hint_html([])
    assert "shorter 3" in hint_html([("shorter", 3)])
