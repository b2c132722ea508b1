"""Colours and type of the framework's controls: ink on white, or on #0f0f11 with #18181b surfaces. No web fonts."""

import gradio as gr


def page_theme() -> gr.themes.Base:
    """Return the theme. Everything else is in `static/theme.css`."""
    theme = gr.themes.Base(
        primary_hue="zinc",
        secondary_hue="zinc",
        neutral_hue="zinc",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
        spacing_size="md",
    )
    return theme.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#0f0f11",
        body_text_color="#18181b",
        body_text_color_dark="#f4f4f5",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#18181b",
        background_fill_secondary="#fafafa",
        background_fill_secondary_dark="#131316",
        block_background_fill="#ffffff",
        block_background_fill_dark="#18181b",
        block_border_color="#e4e4e7",
        block_border_color_dark="#2c2c31",
        border_color_primary="#e4e4e7",
        border_color_primary_dark="#2c2c31",
        block_label_text_weight="600",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_shadow="none",
        block_shadow_dark="none",
        input_background_fill="#ffffff",
        input_background_fill_dark="#18181b",
        input_border_color="#d4d4d8",
        input_border_color_dark="#3f3f46",
        button_primary_background_fill="#18181b",
        button_primary_background_fill_dark="#f4f4f5",
        button_primary_background_fill_hover="#3f3f46",
        button_primary_background_fill_hover_dark="#d4d4d8",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#18181b",
        button_secondary_background_fill="#f4f4f5",
        button_secondary_background_fill_dark="#27272a",
        button_secondary_background_fill_hover="#e4e4e7",
        button_secondary_background_fill_hover_dark="#3f3f46",
        slider_color="#52525b",
        slider_color_dark="#a1a1aa",
    )
