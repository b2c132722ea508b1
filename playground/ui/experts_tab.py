"""The Experts tab: what each expert is, what it was trained on, and prompts to try it with."""

from typing import TYPE_CHECKING

import gradio as gr

from playground.ui import parts
from playground.ui.views.routers import experts_html

if TYPE_CHECKING:
    from playground.runtime import Runtime

INTRO = (
    "An expert is anything that can answer or help: the shared model as it is, an adapter on it, or an exact tool. "
    "A 135-million-parameter model is small: judge it by where its experts differ, not by what it knows."
)


def example_prompt(runtime: "Runtime", pressed: str) -> str:
    """The example an id like `math:0` names; empty for anything else."""
    name, _, position = pressed.partition(":")
    for expert in runtime.pool.experts:
        if expert.name == name and position.isdigit() and int(position) < len(expert.examples):
            return expert.examples[int(position)]
    return ""


def build(runtime: "Runtime", prompt: gr.Textbox, tabs: gr.Tabs) -> gr.HTML:
    """Draw the tab; pressing an example brings it to the Playground."""
    gr.Markdown(INTRO, elem_classes="intro")
    cards = parts.pressable(experts_html(runtime.pool.experts), elem_id="experts")

    def attempt(event: gr.EventData) -> tuple[str, gr.Tabs]:
        return example_prompt(runtime, str(event._data.get("id", ""))), gr.Tabs(selected="play")

    cards.select(attempt, None, [prompt, tabs], show_progress="hidden", api_visibility="private")
    return cards
