"""The playground's page: settings, page, launch. What `python app.py` and a Hugging Face Space run."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

from playground.runtime import Runtime
from playground.settings import get_settings
from playground.ui.page import serve


def main() -> None:
    """Serve the page until Ctrl-C; models load behind it."""
    serve(Runtime(get_settings()))


if __name__ == "__main__":
    main()
