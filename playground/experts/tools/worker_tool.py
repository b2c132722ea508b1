"""A tool whose work is done in the tool worker, another process with a time limit. Knows no single tool."""

from typing import Any

from playground.errors import PlaygroundError
from playground.experts.base import Refused, Tool
from playground.experts.tools.worker import Worker, shared_worker


class WorkerTool(Tool):
    """Base of tools that call functions in the worker. All tools of a process share one worker."""

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker or shared_worker()

    def close(self) -> None:
        """End the worker process. The next question starts a new one."""
        self._worker.stop()

    def work_out(self, function: str, value: Any, *, query: str) -> dict[str, Any]:
        """Return what `function` ("module:name") makes of `value`. Raise Refused when it refuses or takes too long."""
        try:
            answer: dict[str, Any] = self._worker.call(function, value)
        except PlaygroundError as error:
            raise Refused(str(error), query=query) from error
        if "refused" in answer:
            raise Refused(answer["refused"], query=query)
        return answer
