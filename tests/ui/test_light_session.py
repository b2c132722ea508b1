"""A session holds no copy of the whole page, and keeps its values all the same."""

import gradio as gr
from gradio import state_holder

from playground.ui.fair_queue import size_of
from playground.ui.light_session import LightSession, keep_sessions_light


def test_a_light_session_keeps_what_the_framework_reads_of_it() -> None:
    with gr.Blocks(analytics_enabled=False) as blocks:
        state, text = gr.State("first"), gr.Textbox("shown")
        for _ in range(100):
            gr.Textbox("x" * 1000)
    light, whole = LightSession(blocks), state_holder.SessionState(blocks)
    assert size_of(light.config_values) < 100
    assert set(vars(light)) == set(vars(whole))  # a new version of the framework may want more
    for session in (light, whole):
        assert session[state._id] == "first"
        session[state._id] = "second"
        assert session[state._id] == "second"
        session[text._id] = gr.Textbox("changed", render=False)
        assert session[text._id].value == "changed"
        session._update_value_in_config(text._id, "newest")
        assert session.config_values[text._id]["props"]["value"] == "newest"
        assert [value for _, value, _ in session.state_components] == ["second"]


def test_every_later_session_is_light() -> None:
    before = state_holder.SessionState
    try:
        keep_sessions_light()
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.Textbox()
        blocks.queue()
        assert isinstance(blocks.state_holder["ann"], LightSession)
    finally:
        state_holder.SessionState = before  # type: ignore[misc]
