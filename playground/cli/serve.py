"""`serve`: the page, as `python app.py` shows it, with the address on the command line."""

from typing import Annotated

import typer

from playground.cli.reply import replying
from playground.cli.start import read_settings


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. By default the setting PLAYGROUND_HOST.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. By default the setting PLAYGROUND_PORT.")] = None,
) -> None:
    """Open the page and serve it until Ctrl-C."""
    with replying(False):
        settings = read_settings()
        # gradio takes seconds to import, and no other command needs it
        from playground.serving.runtime import Runtime  # noqa: PLC0415
        from playground.ui.page import serve as open_page  # noqa: PLC0415

        open_page(Runtime(settings), host=host, port=port)
