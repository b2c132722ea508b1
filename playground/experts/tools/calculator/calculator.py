"""The calculator: finds the arithmetic in a prompt, has it worked out in the tool worker, and writes the result.

Source: MRKL (arXiv:2205.00445), section on symbolic experts. Reads only; sympy stays in the worker's process.
"""

import re
import time

from playground.errors import PlaygroundError
from playground.experts.base import Refused, Tool, ToolResult, tool
from playground.experts.tools.calculator.expression import Calculation, find_calculations
from playground.experts.tools.numerals import grouped
from playground.experts.tools.worker import Worker, shared_worker

SOLVE = "playground.experts.tools.calculator.arithmetic:solve"
SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
COMMANDS = re.compile(r"^(?:increase|raise|decrease|reduce|lower|what)|\bwhat\b", re.IGNORECASE)
NOTHING = "There is no calculation in this prompt. Write it out, for example: 17% of 2,340."


@tool(
    "calculator",
    title="Calculator",
    description="Exact arithmetic: sums, products, powers, roots, percentages and functions of plain numbers.",
    mark="Ca",
    slot=9,
    licence="BSD-3-Clause",
    examples=("What is 17% of 2,340?", "sqrt(2)*15", "12.5 * (3+4)", "increase 80 by 15%"),
)
class Calculator(Tool):
    """Answers arithmetic exactly and refuses everything else."""

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker or shared_worker()

    def close(self) -> None:
        """End the worker process. The next question starts a new one."""
        self._worker.stop()

    def compute(self, prompt: str) -> ToolResult:
        """Return the value of each calculation in `prompt`, up to three."""
        started = time.perf_counter()
        query = prompt.strip()[:200]
        try:
            found = find_calculations(prompt)
            if not found:
                raise Refused(NOTHING)
            query = "; ".join(SEPARATOR.sub("", calculation.text) for calculation in found)
            answers = [self._solve(calculation) for calculation in found]
        except (Refused, PlaygroundError) as refusal:
            return ToolResult(query, "", str(refusal), ok=False, seconds=time.perf_counter() - started)
        result = "; ".join(result for result, _ in answers)
        sentence = " ".join(sentence for _, sentence in answers)
        return ToolResult(query, result, sentence, ok=True, seconds=time.perf_counter() - started)

    def _solve(self, calculation: Calculation) -> tuple[str, str]:
        """Return the result and its sentence."""
        answer = self._worker.call(SOLVE, calculation.tree)
        if "refused" in answer:
            raise Refused(answer["refused"])
        asked = grouped(SEPARATOR.sub("", calculation.text))
        shown = answer["result"].replace(answer["text"], grouped(answer["text"]), 1)
        if asked.lower().startswith(("percent", "per cent", "%")):
            asked = f"what {asked}"
        if COMMANDS.search(asked):
            return answer["result"], f"{asked[0].upper()}{asked[1:]}: {'' if answer['is_exact'] else 'about '}{shown}."
        return answer["result"], f"{asked} is {'' if answer['is_exact'] else 'about '}{shown}."
