"""`docs`: the pages of the documentation, on the terminal."""

from typing import Annotated

import typer

from playground.actions import docs as documentation
from playground.cli.reply import JsonFlag, replying


def docs(
    page: Annotated[
        str, typer.Argument(help="A page such as glossary or add/router. By default all pages are listed.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Show a page of the documentation, or list the pages."""
    with replying(as_json) as reply:
        if page:
            text = documentation.page(page)
            reply.value = {"page": page, "markdown": text}
            reply.say(text, end="")
            return
        found = documentation.pages()
        reply.value = {"pages": [{"name": name, "title": title} for name, title in found]}
        reply.table([{"page": name.removesuffix(".md"), "title": title} for name, title in found])
