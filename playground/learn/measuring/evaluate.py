"""Measure the base, each expert, the even mix and each gate on the tasks' test rows. Measure how they refuse.

Choice tasks are scored by length-normalised likelihood, loss tasks by answer loss, refusal tasks by greedy answers.
Some sets also have exact answers. `oracle` is each set's own expert. It is missing where that is not installed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playground.core.statistics import mean_interval
from playground.errors import InvalidRequest
from playground.learn.experts.card import ANSWER_TOKENS
from playground.learn.measuring.measurer import Measurer, Question
from playground.learn.measuring.scores import averages, drawn_question, question, rounded, scored, shares, summary
from playground.learn.measuring.systems import BASE, ORACLE, System
from playground.learn.rows import DataRow, read_rows, sample_rows
from playground.learn.tasks import MEASURED, TASKS, Task, refuses
from playground.settings import SMALL_DATA

DEFAULT_LIMIT = 100
EXACT_ROWS = 16
SAFE = "safe"
# rows that ask for harm, and rows that only look as if they did
REFUSALS = {"harmful": ("advbench", "harmbench"), "lookalike": ("safety", "lookalike")}


def evaluate(
    measurer: Measurer,
    systems: Mapping[str, System],
    *,
    data: Path,
    names: Sequence[str] = MEASURED,
    limit: int = DEFAULT_LIMIT,
    exact: int = EXACT_ROWS,
) -> dict[str, Any]:
    """Return scores with 95 % intervals on at most `limit` test rows of each set, as `experts evaluate` prints them.

    The first `exact` rows of sets with exact answers are also answered greedily by the base, the set's own expert and
    the gates. `missing` names the sets that the folder `data` lacks. After an interrupt, only the finished sets are
    returned. Raise InvalidRequest for an unknown set, or when the folder has none.
    """
    rows = _test_rows(data, names, limit)
    plans = {name: _Plan(measurer, TASKS[name], found, systems, exact) for name, found in rows.items()}
    sets: dict[str, Any] = {}
    interrupted = False
    try:
        for name, plan in plans.items():
            sets[name] = plan.measure()
    except KeyboardInterrupt:
        interrupted = True
    missing = [name for name in names if name not in rows]
    return {"sets": sets, **averages(sets), "missing": missing, "interrupted": interrupted}


class _Plan:
    """The questions of one set: all rows for all systems, and some rows for greedy answers of some systems."""

    def __init__(
        self, measurer: Measurer, task: Task, rows: Sequence[DataRow], systems: Mapping[str, System], exact: int
    ) -> None:
        self.measurer, self.task, self.rows = measurer, task, rows
        self.systems = list(systems.values())
        self.questions = [question(measurer.base, task, row) for row in rows]
        self.few = [one for one in self.systems if one.name in (BASE, task.owner) or one.gate is not None]
        self.drawn = [drawn_question(measurer.base, task, row) for row in rows[:exact]] if task.exact else []
        measurer.expect(self.questions, self.systems)
        measurer.expect(self.drawn, self.few)

    def measure(self) -> dict[str, Any]:
        """Ask the questions, and return the set's part of the result."""
        task, rows = self.task, self.rows
        answers = self.measurer.ask(task.name, self.questions, self.systems)
        found = {name: scored(task, rows, values) for name, values in answers.items()}
        if task.owner in found:
            found[ORACLE] = found[task.owner]
        result = summary(task, rows, found)
        if self.drawn:
            texts = self.measurer.ask(f"{task.name}, exact answers", self.drawn, self.few)
            result["exact"] = shares(task, rows, texts)
        return result


def _test_rows(data: Path, names: Sequence[str], limit: int) -> dict[str, list[DataRow]]:
    unknown = [name for name in names if name not in MEASURED]
    if unknown:
        raise InvalidRequest(f"There is no set {unknown[0]}.", f"Choose among {', '.join(MEASURED)}.")
    # only the sets of this folder: the project's own sets must not be mixed into its figures
    there = [TASKS[name] for name in names if (data / TASKS[name].folder).is_dir()]
    drawn = {task.name: sample_rows(read_rows(data, task.folder, "test"), limit, seed=0) for task in there}
    found = {name: rows for name, rows in drawn.items() if rows}
    if not found:
        raise InvalidRequest(
            f"The folder {data} has no test rows of these sets.", "Give a folder that holds at least one of these sets."
        )
    return found


def refusals(
    measurer: Measurer, systems: Mapping[str, System], *, data: Path, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """Return how often the base, the safe expert and gates refuse harmful prompts, and look-alikes.

    {"refusals": {"harmful" | "lookalike": {system: {"rate", "low", "high", "n"}}}, "rows": {kind: {set: n}}}, with
    Wilson's intervals. For a set that the folder lacks, the project's own is used if there is one.
    """
    asked = [one for name, one in systems.items() if name in (BASE, SAFE) or one.gate is not None]
    counts: dict[str, dict[str, int]] = {}
    questions: dict[str, list[Question]] = {}
    for kind, names in REFUSALS.items():
        counts[kind], questions[kind] = {}, []
        for task in (TASKS[name] for name in names):
            if not any((root / task.folder).is_dir() for root in (data, SMALL_DATA)):
                continue
            rows = [row for row in read_rows(data, task.folder, "test") if _is_of(kind, row)]
            rows = sample_rows(rows, limit, seed=0)
            counts[kind][task.name] = len(rows)
            questions[kind] += [drawn_question(measurer.base, task, row, tokens=ANSWER_TOKENS) for row in rows]
        measurer.expect(questions[kind], asked)
    found: dict[str, Any] = {}
    for kind, some in questions.items():
        texts = measurer.ask(f"{kind} prompts", some, asked) if some else {}
        found[kind] = {
            name: {**rounded("rate", mean_interval([float(refuses(text)) for text in made])), "n": len(made)}
            for name, made in texts.items()
        }
    return {"refusals": found, "rows": counts}


def _is_of(kind: str, row: DataRow) -> bool:
    """Return whether a row is of `kind`. XSTest holds both kinds: a row that should be answered is a look-alike."""
    return kind == "harmful" or row["answer"] != "refuse"
