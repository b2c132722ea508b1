"""The calculator: finds the arithmetic in a prompt, has it worked out in the tool worker, and writes the result.

Source: MRKL (arXiv:2205.00445), section on symbolic experts. Reads only; sympy stays in the worker's process.
"""

import re

from playground.experts.base import Refused, Solution, tool
from playground.experts.tools.calculator.expression import Calculation, find_calculations
from playground.experts.tools.numerals import grouped
from playground.experts.tools.worker_tool import WorkerTool

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
class Calculator(WorkerTool):
    """Answers arithmetic exactly and refuses everything else."""

    def solve(self, prompt: str) -> Solution:
        """Return the value of each calculation in `prompt`, up to three."""
        found = find_calculations(prompt)
        if not found:
            raise Refused(NOTHING)
        query = "; ".join(SEPARATOR.sub("", calculation.text) for calculation in found)
        answers = [self._answer(calculation, query) for calculation in found]
        return Solution(query, "; ".join(result for result, _ in answers), " ".join(told for _, told in answers))

    def _answer(self, calculation: Calculation, query: str) -> tuple[str, str]:
        """Return the result and its sentence."""
        answer = self.work_out(SOLVE, calculation.tree, query=query)
        asked = grouped(SEPARATOR.sub("", calculation.text))
        shown = answer["result"].replace(answer["text"], grouped(answer["text"]), 1)
        if asked.lower().startswith(("percent", "per cent", "%")):
            asked = f"what {asked}"
        if COMMANDS.search(asked):
            return answer["result"], f"{asked[0].upper()}{asked[1:]}: {'' if answer['is_exact'] else 'about '}{shown}."
        return answer["result"], f"{asked} is {'' if answer['is_exact'] else 'about '}{shown}."
