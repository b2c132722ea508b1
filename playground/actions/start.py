"""Start a playground whose models are loaded, or the base model alone, for commands that need one."""

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from playground.serving.runtime import Runtime, Status
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.model.base import LanguageModel

POLL_SECONDS = 0.1


@contextlib.contextmanager
def ready_runtime(settings: Settings, show: Callable[[Status], None]) -> Iterator[Runtime]:
    """Yield a playground whose models are loaded, then close it. `show` gets the progress of loading.

    Raise the PlaygroundError that kept it from loading.
    """
    runtime = Runtime(settings)
    runtime.start()
    try:
        while runtime.status.phase not in ("ready", "failed"):
            show(runtime.status)
            time.sleep(POLL_SECONDS)
        runtime.wait()
        yield runtime
    finally:
        runtime.close()


def base_model(settings: Settings, show: Callable[[str, int, int], None]) -> "LanguageModel":
    """Return a new language model, not shared with an engine, because training changes it.

    `show` gets (phase, bytes done, bytes in all). Raise ArtefactError when the model cannot be had.
    """
    loading = importlib.import_module("playground.serving.loading")  # imports torch
    base: LanguageModel = loading.load_model(settings, show)
    return base
