"""Ask systems for likelihoods of given answers, or for greedy answers. What was measured is kept and not redone.

This module knows nothing of scores. `evaluate` makes them from these answers.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from playground.core.values import Sampling
from playground.encode.base import TextEncoder
from playground.learn.measuring.systems import System
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.decode import Batch, Row
from playground.model.sampling import Sampler
from playground.model.scoring import common_prefix, routed_logprobs

ROWS_AT_ONCE = 16
DRAWN_COST = 6  # a drawn token takes about as long as six that are read in full batches
FORMAT = 1  # of the kept values; raise it when the way of measuring changes


@dataclass(frozen=True)
class Question:
    """What a system is asked. `prompt` holds token ids, `text` is its text. `answers` are token ids to compare.

    Without answers, one is drawn greedily, at most `tokens` long and ended by any text of `stop`.
    """

    text: str
    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...] = ()
    tokens: int = 0
    stop: tuple[str, ...] = ()

    @property
    def cost(self) -> int:
        """Return about how long the question takes, in tokens read."""
        return len(self.prompt) + sum(map(len, self.answers)) + DRAWN_COST * self.tokens


class Kept:
    """Values by key in a file of JSON lines, each written as soon as it is known."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and not fresh:
            for line in path.read_text("utf-8").splitlines():
                try:
                    self.values.update(json.loads(line))
                except json.JSONDecodeError:
                    continue  # the line that was being written when the process was killed
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")

    def put(self, key: str, value: Any) -> None:
        """Keep `value` (JSON) under `key`, replacing what is there."""
        self.values[key] = value
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({key: value}) + "\n")


class Measurer:
    """Asks systems of one bank. Call `expect` for all questions first, so that the time left can be estimated."""

    def __init__(
        self,
        base: LanguageModel,
        bank: Bank,
        encoder: TextEncoder,
        kept: Kept,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.base = base
        self.bank = bank
        self.encoder = encoder
        self.kept = kept
        self.progress = progress
        self.measured = 0  # how many (question, system) pairs had to be asked
        self._left = 0.0
        self._spent = 0.0
        self._began = time.monotonic()

    def expect(self, questions: Sequence[Question], systems: Sequence[System]) -> None:
        """Add the cost of these questions to the work left. Kept answers cost nothing."""
        self._left += sum(question.cost * len(self._lacking(question, systems)) for question in questions)

    def ask(self, label: str, questions: Sequence[Question], systems: Sequence[System]) -> dict[str, list[Any]]:
        """Return the result of each question by system: mean log-probability per token of each answer, or the text."""
        wanted: list[tuple[int, list[System]]] = []
        for index in sorted(range(len(questions)), key=lambda i: questions[i].cost):
            if lacking := self._lacking(questions[index], systems):
                wanted.append((index, lacking))
        embeddings = self._embeddings([questions[index] for index, _ in wanted], systems)
        total, done = sum(len(lacking) for _, lacking in wanted), 0
        for found in self._found(questions, wanted, embeddings):
            for question, system, value in found:
                self.kept.put(_key(system, question), value)
                self._spent += question.cost
                done += 1
            self.measured += len(found)
            if self.progress:
                self.progress(f"{label}: {done} of {total}, {self._time_left()}")
        return {system.name: [self.kept.values[_key(system, question)] for question in questions] for system in systems}

    def _lacking(self, question: Question, systems: Sequence[System]) -> list[System]:
        return [system for system in systems if _key(system, question) not in self.kept.values]

    def _found(
        self, questions: Sequence[Question], wanted: Sequence[tuple[int, list[System]]], embeddings: Sequence[Any]
    ) -> Iterator[list[tuple[Question, System, Any]]]:
        """Yield lists of (question, system, value) as they become known."""
        drawn = []
        for (index, systems), embedding in zip(wanted, embeddings, strict=True):
            question = questions[index]
            if question.answers:
                yield self._weighed(question, systems, embedding)
            else:
                drawn += [(question, system, embedding) for system in systems]
        yield from self._drawn(drawn)

    def _weighed(
        self, question: Question, systems: Sequence[System], embedding: Any
    ) -> list[tuple[Question, System, Any]]:
        # the tokens that all answers begin with are read with the prompt, because they do not tell the answers apart
        shared = common_prefix(question.answers)
        prompt = [*question.prompt, *question.answers[0][:shared]]
        routes = [system.open(len(question.prompt), embedding) for system in systems]
        answers = [answer[shared:] for answer in question.answers]
        found = routed_logprobs(self.base.model, routes, len(self.bank), prompt, answers)
        return [
            (question, system, [round(float(row.mean()), 6) for row in rows])
            for system, rows in zip(systems, found, strict=True)
        ]

    def _drawn(self, asked: Sequence[tuple[Question, System, Any]]) -> Iterator[list[tuple[Question, System, str]]]:
        """Yield greedy answers as they end. Sixteen rows decode at once. A row that ends makes room for the next."""
        waiting = deque(asked)
        batch = Batch(self.base, self.bank)
        live: list[tuple[Row, Question, System]] = []
        vocabulary = self.base.vocabulary
        while waiting or live:
            if live:
                batch.step()
            while waiting and len(live) < ROWS_AT_ONCE:
                question, system, embedding = waiting.popleft()
                routing = system.open(len(question.prompt), embedding)
                sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.0), vocabulary)
                row = Row(list(question.prompt), routing, sampler)
                batch.join(row)
                live.append((row, question, system))
            ended = []
            for entry in list(live):
                row, question, system = entry
                text = self._ended(row, question)
                if text is not None:
                    batch.leave(row)
                    live.remove(entry)
                    ended.append((question, system, text))
            if ended:
                yield ended

    def _ended(self, row: Row, question: Question) -> str | None:
        """Return the text of an answer that is over, cut before the stop. Return None while it goes on."""
        made = row.ids[len(question.prompt) :]
        over = made[-1] in self.base.end_ids
        if not (over or question.stop or len(made) >= question.tokens):
            return None
        text = str(self.base.tokenizer.decode(made, skip_special_tokens=True))
        cuts = [place for place in (text.find(mark) for mark in question.stop) if place >= 0]
        if not (over or cuts or len(made) >= question.tokens):
            return None
        return text[: min(cuts, default=len(text))]

    def _embeddings(self, questions: Sequence[Question], systems: Sequence[System]) -> Sequence[Any]:
        """Return the embedding (d_z,) of each question's text, or None for each when no system needs it."""
        if not questions or not any(system.gate is not None and system.gate.needs_embedding for system in systems):
            return [None] * len(questions)
        return list(torch.from_numpy(self.encoder.encode([question.text for question in questions])))

    def _time_left(self) -> str:
        if not self._spent:
            return "time unknown"
        seconds = (self._left - self._spent) * (time.monotonic() - self._began) / self._spent
        return f"{seconds / 60:.0f} min left in all" if seconds >= 90 else f"{max(seconds, 0):.0f} s left in all"


def _key(system: System, question: Question) -> str:
    asked = [FORMAT, system.mark, question.text, question.prompt, question.answers, question.tokens, question.stop]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
