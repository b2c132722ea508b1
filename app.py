"""The playground's page: settings, page, launch. What `python app.py` and a Hugging Face Space run."""

import gc
import os
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
gc.disable()  # imports make no garbage, and looking for it there is half a second of the wait for the page

from playground.errors import PlaygroundError  # noqa: E402  (after the two lines above)
from playground.serving.runtime import Runtime  # noqa: E402
from playground.settings import get_settings  # noqa: E402
from playground.ui.page import serve  # noqa: E402

gc.freeze()
gc.enable()


def main() -> None:
    """Serve the page until Ctrl-C. The models load behind it."""
    try:
        serve(Runtime(get_settings()))
    except PlaygroundError as error:
        sys.exit(f"{error.message}\n{error.remedy}".strip())


if __name__ == "__main__":
    main()
