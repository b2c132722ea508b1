"""The About tab: the documentation. Links between its pages open in the same tab."""

import re
from html import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import gradio as gr

from playground.actions import docs
from playground.ui import parts
from playground.ui.assets import picture_address
from playground.ui.browser_values import pressed_id
from playground.ui.failures import guarded

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#|\?)([^)\s]+)\)")
PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def contents_html(chosen: str) -> str:
    """Return the list of pages, with the chosen one marked."""
    items = "".join(
        f'<button type="button" class="doc-link{" current" if name == chosen else ""}" data-id="{escape(name)}"'
        f"{' aria-current=page' if name == chosen else ''}>{escape(title)}</button>"
        for name, title in docs.pages()
        if "/" not in name or name.startswith("add/") or name.endswith("README.md")
    )
    return f'<nav class="doc-list" aria-label="Documentation">{items}</nav>'


def page_markdown(name: str, *, lists: bool) -> str:
    """Return a page. Its links lead to this tab, and its pictures to the address that serves them."""
    folder = PurePosixPath(name).parent

    def led(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if mark:
            return f"![{text}]({picture_address(PurePosixPath(target).name)})"
        plain, _, anchor = target.partition("#")
        place = _joined(folder, plain)
        return f"[{text}](?about={place}{f'#{anchor}' if anchor else ''})"

    return LINK.sub(led, docs.page(name, lists=lists))


def _joined(folder: PurePosixPath, target: str) -> str:
    """Return the path of `target`, a link of a page in `folder`, from the folder of all pages."""
    found: list[str] = []
    for part in (folder / target).parts:
        if part == "..":
            found = found[:-1]
        elif part != ".":
            found.append(part)
    return "/".join(found)


class AboutTab:
    """The tab's components and callbacks. `shown` is the name of the page that is open."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime
        self.shown = gr.State("")
        with gr.Row(elem_id="about"):
            with gr.Column(scale=0, min_width=220, elem_id="about-pages"):
                self.contents = parts.pressable(contents_html(docs.FIRST), elem_id="doc-pages")
            with gr.Column(scale=1, min_width=320, elem_id="about-text"):
                self.text = gr.Markdown("", elem_id="doc-text", sanitize_html=True)

        def pressed(event: gr.EventData) -> dict[Any, Any]:
            return self.opened(pressed_id(event))

        self.contents.select(guarded(pressed), None, [self.contents, self.text, self.shown], **PRIVATE)

    def arrive(self, shown: str) -> dict[Any, Any]:
        """Show the first page when the tab is opened for the first time."""
        return {self.shown: gr.skip()} if shown else self.opened(docs.FIRST)

    def opened(self, name: str) -> dict[Any, Any]:
        """Return updates that show a page. Raise InvalidRequest for an unknown one."""
        found = docs.known_page(name)
        # the lists of plug-ins import torch, so they are left out until the models have imported it
        text = page_markdown(found, lists=self.runtime.is_ready)
        return {self.contents: contents_html(found), self.text: text, self.shown: found}
