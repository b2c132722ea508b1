"""Placeholder of the calculator tool."""

from playground.experts.base import ToolResult
from playground.experts.worker import Worker


class Calculator:
    """Refuses everything for now."""

    name = "calculator"

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def answer(self, prompt: str) -> ToolResult:
        """A refusal."""
        return ToolResult(prompt, "", "This tool is being built.", ok=False, seconds=0.0)
