"""Show a repeat or a comparison with a known answer as if its answers were being written."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions.compare import OpenComparison
from playground.ui import wire
from playground.ui.turns import Turn

if TYPE_CHECKING:
    from playground.ui.compare_tab import CompareTab

ANSWER_SECONDS = 1.0  # how long a stored answer seems to be written


def replayed(tab: "CompareTab", turn: Turn, opened: OpenComparison) -> Iterator[dict[Any, Any]]:
    """Yield updates that show stored answers, first begun and then whole."""
    opened.token, opened.left = turn.token, turn.left
    tab.open.add(opened)
    opening = wire.opening(opened.token[:8])
    lines = [[wire.blind_line(event) for event in state.events] for state in opened.states]
    left, right = (opening + "".join(side[:1]) for side in lines)
    yield (
        tab.enabled(False)
        | {tab.undo: gr.Button(interactive=False), tab.reveal: "", tab.reasons: gr.Group(visible=False)}
        | {tab.token: turn.token, tab.prompt: opened.prompt, tab.left: left, tab.right: right}
        | tab.remembered(opened)
        | tab.said("Answering …")
    )
    turn.left.wait(ANSWER_SECONDS)
    left, right = (opening + "".join(side) for side in lines)
    whole = {tab.left: left, tab.right: right} | tab.enabled(True) | tab.said("Which is better?")
    yield {tab.token: gr.skip()} if turn.left.is_set() else whole
