"""The page's own components. Their templates are constant and `static/` draws their values, so nothing flickers."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from playground.ui.assets import mounting, text_of

# gradio 6.31 runs `${…}` inside a text that `{{value}}` has put into the template, and `${value}` alone escapes nothing
STATUS = (
    '<div role="status" aria-live="polite" class="pg-unseen">'
    "${String(value ?? '').replace(/&/g, '&amp;').replace(/</g, '&lt;')}</div>"
)


def drawn(
    kind: str, value: str, template: str, *, elem_id: str, functions: Sequence[Callable[..., Any]] = (), **props: Any
) -> gr.HTML:
    """Return a component that `static/` draws as `kind` from `value`; `template` is a file in `static/` or markup."""
    html = text_of(template) if template.endswith(".html") else template
    return gr.HTML(
        value,
        html_template=html,
        js_on_load=mounting(kind),
        apply_default_css=False,
        elem_id=elem_id,
        server_functions=list(functions) or None,
        **props,
    )


def markup(value: str, *, elem_id: str, **props: Any) -> gr.HTML:
    """Return a component that shows escaped HTML from `views/` as it is."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id, **props)


def trouble(sentence: str) -> str:
    """Return a sentence on what went wrong as escaped HTML, which a screen reader says at once."""
    return f'<p class="trouble" role="alert">{escape(sentence)}</p>'


def pressable(value: str, *, elem_id: str) -> gr.HTML:
    """Return a component that shows escaped HTML. A pressed part with `data-id` triggers `select` with that id."""
    return gr.HTML(value, js_on_load=mounting("list"), apply_default_css=False, elem_id=elem_id)


def announcer(elem_id: str) -> gr.HTML:
    """Return the polite status region of a tab. It says one sentence when something ended, never token by token."""
    return gr.HTML("", html_template=STATUS, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def feed(kind: str, *, elem_id: str) -> gr.HTML:
    """Return a component that shows nothing itself. Its lines are drawn into another component."""
    return gr.HTML(
        "", html_template="<span hidden></span>", js_on_load=mounting(kind), apply_default_css=False, elem_id=elem_id
    )
