"""The page's own components: constant templates that `static/` draws from a value, so nothing flickers."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from playground.ui.assets import mounting, text_of

STATUS = '<div role="status" aria-live="polite" class="pg-unseen">{{value}}</div>'


def drawn(
    kind: str, value: str, template: str, *, elem_id: str, functions: Sequence[Callable[..., Any]] = (), **props: Any
) -> gr.HTML:
    """A component drawn by `static/` as `kind` from `value`; `template` is a file in `static/` or markup."""
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
    """Escaped HTML from `views/`, shown as it is."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id, **props)


def pressable(value: str, *, elem_id: str) -> gr.HTML:
    """Escaped HTML whose parts with `data-id` raise `select` with that id."""
    return gr.HTML(value, js_on_load=mounting("list"), apply_default_css=False, elem_id=elem_id)


def announcer(elem_id: str) -> gr.HTML:
    """The polite status region of a tab: one sentence when something ended, never token by token."""
    return gr.HTML("", html_template=STATUS, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def feed(kind: str, *, elem_id: str) -> gr.HTML:
    """A component without a picture of its own, whose lines are drawn into another one."""
    return gr.HTML(
        "", html_template="<span hidden></span>", js_on_load=mounting(kind), apply_default_css=False, elem_id=elem_id
    )
