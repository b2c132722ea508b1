"""What the page says while models load: the status in the header, and the lines of a waiting run."""

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from playground.errors import NotReady
from playground.ui.format import megabytes
from playground.ui.wire import waiting

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime, Status

WORDS = {"starting": "starting", "converting": "preparing the language model", "loading": "loading the models"}


def sentence(status: "Status") -> str:
    """Return what is happening, with figures where there are any."""
    if status.phase == "ready":
        return "ready" if status.message == "Ready" else f"ready: {status.message}"
    if status.phase == "downloading" and status.total:
        return f"downloading the language model: {megabytes(status.done)} of {megabytes(status.total)} MB"
    if status.phase == "failed":
        return f"{status.message} {status.remedy}".strip()
    return status.message or WORDS.get(status.phase, status.phase)


def share(status: "Status") -> float | None:
    """Return how much of the download is there, 0…1. None when that is not known."""
    return min(1.0, status.done / status.total) if status.total else None


def header_value(runtime: "Runtime") -> str:
    """Return the header's state as JSON, for `static/page/header.js`."""
    status, settings = runtime.status, runtime.settings
    address = settings.database_address
    local = address.startswith("sqlite")
    lasting = not settings.is_space or str(settings.data_dir).startswith("/data") or not local
    hint = "" if lasting else "Labels are lost when this Space restarts. Attach storage at /data or set DATABASE_URL."
    where = "this machine" if local else "the database server"
    return json.dumps(
        {
            "phase": status.phase,
            "text": sentence(status),
            "share": share(status) if status.phase == "downloading" else None,
            "storage": f"labels saved to {where}" if lasting else "labels are not kept",
            "storage_hint": hint,
        }
    )


def until_ready(runtime: "Runtime", left: threading.Event) -> Iterator[str]:
    """Yield a line each time the sentence changes, until models are ready or the visitor `left`.

    Raise NotReady when loading failed.
    """
    last = ""
    while not runtime.is_ready and not left.is_set():
        status = runtime.status
        if status.phase == "failed":
            raise NotReady(status.message or "The models could not be loaded.", status.remedy)
        text = f"Your prompt is queued · {sentence(status)}"
        if text != last:
            last = text
            yield waiting(text, share(status))
        left.wait(0.4)
