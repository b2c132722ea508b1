"""The Compare and the Labels tab as their callbacks: on a disk that cannot be written, and while others open many."""

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from playground.core.preferences import Verdict
from playground.errors import InvalidRequest
from playground.store.label_views import current_labels
from playground.ui.compare_tab import CompareTab
from playground.ui.labels_tab import LabelsTab
from tests.scripted import runtime

__all__ = ["runtime"]
MINE, OTHER = "my-own-handle", "the-attackers-handle"
ASKED = ("expert:math", "expert:base", 8)


@pytest.fixture
def tabs(runtime: Any) -> tuple[CompareTab, LabelsTab]:
    with gr.Blocks():
        handle = gr.BrowserState(None)
        compare = CompareTab(runtime, handle)
        with gr.Tabs() as pages, gr.Tab("Labels"):
            labels = LabelsTab(runtime, handle, pages, compare)
    return compare, labels


def compared(tab: CompareTab, who: str, prompt: str = "Which?") -> tuple[str, str]:
    """Compare as a page does, and return what that page holds: (token, what its browser keeps)."""
    token = kept = ""
    for update in tab.compare(who, prompt, *ASKED, ""):
        token = update.get(tab.token, token) if isinstance(update.get(tab.token), str) else token
        kept = update.get(tab.shown, kept)
    return token, kept


@pytest.fixture
def label(runtime: Any, tabs: tuple[CompareTab, LabelsTab]) -> str:
    """Return the id of somebody's vote, which everybody may read."""
    compare, _ = tabs
    compare.cast(Verdict.A, *compared(compare, OTHER)[:1], OTHER, "")
    with runtime.database.read() as session:
        return current_labels(session)[0].label_id


@pytest.fixture
def locked(runtime: Any, label: str, tmp_path: Path) -> Iterator[None]:
    """A writer that does not end. A full or read-only disk refuses writes likewise."""
    runtime.database.close()
    runtime.database.busy_ms = 50
    other = sqlite3.connect(tmp_path / "playground.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.usefixtures("locked")
def test_both_tabs_open_on_a_disk_that_cannot_be_written(tabs: tuple[CompareTab, LabelsTab], label: str) -> None:
    compare, labels = tabs
    for who in (MINE, OTHER):
        assert compare.history in compare.arrive(who)
        assert label in str(labels.refresh(who, "all", "all", "all", "").value)
        assert compare.opened(label, who, "")[compare.token]


def test_a_page_votes_although_others_opened_many(
    runtime: Any, tabs: tuple[CompareTab, LabelsTab], label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.actions.compare.KEPT", 10)
    compare, _ = tabs
    token, kept = compared(compare, MINE)
    for _ in range(20):
        compare.opened(label, OTHER, "")
    assert compare.open.get(token) is None, "it was pushed out"
    update = compare.cast(Verdict.B, token, MINE, kept)
    assert update[compare.undo]
    with runtime.database.read() as session:
        rows = current_labels(session)
    assert [(row.shown_verdict, row.revealed_before) for row in rows] == [(Verdict.B, False), (Verdict.A, False)]
    compare.take_back(token, MINE, kept)
    with runtime.database.read() as session:
        assert [row.label_id for row in current_labels(session)] == [label]


def test_a_page_that_lost_its_token_votes_by_what_its_browser_keeps(
    runtime: Any, tabs: tuple[CompareTab, LabelsTab]
) -> None:
    compare, _ = tabs
    _, kept = compared(compare, MINE)
    for _ in "ab":
        compare.cast(Verdict.B, "", MINE, kept)
    with runtime.database.read() as session:
        assert len(current_labels(session)) == 1


def test_what_a_browser_kept_is_checked(tabs: tuple[CompareTab, LabelsTab]) -> None:
    compare, _ = tabs
    for kept in ("", None, "{", "[]", '{"id": 7}', '{"id": "none", "prompt": ""}', "[" * 5000):
        with pytest.raises(InvalidRequest):
            compare.cast(Verdict.B, "", MINE, kept)
        assert compare.restore(MINE, "", gr.EventData(None, {"kept": kept}))  # type: ignore[arg-type]  # of no block


def test_where_labels_are_closed_a_visitor_sees_and_exports_their_own_only(
    runtime: Any, tabs: tuple[CompareTab, LabelsTab], label: str
) -> None:
    _, labels = tabs
    runtime.settings.public_labels = False
    export = labels._exporter()

    def exported(filters: dict[str, str]) -> str:
        return base64.b64decode(export({"kind": "jsonl", "filters": filters})["base64"]).decode("utf-8")

    for who, sees in ((OTHER, True), (MINE, False)):
        table = labels.refresh(who, "all", "all", "all", "")
        assert (label in str(table.value)) == sees
        assert "your own labels only" in str(table.value)
        assert (label in exported({"verdict": "all", "handle": who})) == sees
    assert label not in exported({})
