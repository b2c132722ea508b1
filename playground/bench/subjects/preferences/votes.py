"""Read sets of real votes, and split them by prompt. No prompt is both learned from and predicted."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from playground.errors import InvalidRequest
from playground.learn.labels.nuisance import AnswerPair

TARGETS = {"a": 1.0, "tie": 0.5, "b": 0.0}
NOBODY = ("the first answer's model", "the second answer's model")
SUFFIX = ".jsonl.gz"
FOLDS = 5
ONE_BY_ONE = 10  # with so few prompts, each is a fold of its own


@dataclass(frozen=True, eq=False)
class VoteSet:
    """A set of votes: `pairs` of answers, `target` (N,) that A is better, and a number for each row's prompt (N,).

    `voter` (N,) numbers who voted. `named` says whether the set tells which model wrote an answer.
    """

    name: str
    pairs: tuple[AnswerPair, ...]
    target: np.ndarray
    prompt: np.ndarray
    voter: np.ndarray
    models: tuple[str, ...]
    named: bool

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def difference(self) -> np.ndarray:
        """Return (N, E) float32: 1 for the model of A, minus 1 for that of B."""
        place = {model: i for i, model in enumerate(self.models)}
        found = np.zeros((len(self), len(self.models)), np.float32)
        rows = np.arange(len(self))
        np.add.at(found, (rows, np.array([place[pair.model_a] for pair in self.pairs])), 1)
        np.add.at(found, (rows, np.array([place[pair.model_b] for pair in self.pairs])), -1)
        return found


def folder_of(given: Path | None, bench_data: Path | None, root: Path) -> Path | None:
    """Return the folder of preference sets: `given`, else in the folder of data sets, else beside the checkout."""
    if given is not None and not given.is_dir():
        raise InvalidRequest(f"There is no folder {given}.", "Correct --data.")
    places = [given, bench_data and bench_data / "preferences", root.parent / "shared" / "data" / "preferences"]
    return next((place for place in places if place is not None and place.is_dir()), None)


def set_files(folder: Path, name: str = "") -> dict[str, Path]:
    """Return the files of people's votes by set name. Raise InvalidRequest when there is no set `name`."""
    files = {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    people = {key: path for key, path in files.items() if not key.startswith("judge")}
    if name and name not in people:
        raise InvalidRequest(f"There is no set {name!r}.", f"Choose one of: {', '.join(people) or 'none'}.")
    return {name: people[name]} if name else people


def read_votes(path: Path, models: Sequence[str] = ()) -> VoteSet:
    """Return the votes in a file of JSON lines. Raise InvalidRequest that names the line which is no vote.

    `models` are put first, so that two files of one set have the same columns.
    """
    pairs, target, prompt, voter = [], [], [], []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                writers = (row["model_a"] or NOBODY[0], row["model_b"] or NOBODY[1])
                pairs.append(AnswerPair(row["prompt"], *writers, row["response_a"], row["response_b"]))
                target.append(TARGETS[row["winner"]])
                prompt.append(normal(row["prompt"]))
                voter.append(row.get("annotator") or "")
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidRequest(f"Line {number} of {path.name} is no vote ({error}).", "Correct it.") from error
    if not pairs:
        raise InvalidRequest(f"There are no votes in {path.name}.", "Choose another file.")
    seen = sorted({model for pair in pairs for model in (pair.model_a, pair.model_b)} - set(models))
    return VoteSet(
        name=path.name.removesuffix(SUFFIX),
        pairs=tuple(pairs),
        target=np.array(target),
        prompt=np.unique(prompt, return_inverse=True)[1],
        voter=np.unique(voter, return_inverse=True)[1],
        models=(*models, *seen),
        named=NOBODY[0] not in seen,
    )


def normal(prompt: str) -> str:
    """Return the prompt without differences of case and spaces."""
    return " ".join(prompt.casefold().split())


def overlap(train: VoteSet, test: VoteSet) -> np.ndarray:
    """Return (N,): which rows of `test` ask a prompt that `train` has, but for case and spaces."""
    known = {normal(pair.prompt) for pair in train.pairs}
    return np.array([normal(pair.prompt) in known for pair in test.pairs])


def folds(prompt: np.ndarray, seed: int, count: int = FOLDS) -> np.ndarray:
    """Return (N,) the fold of each row. All rows of a prompt are in one fold."""
    distinct, row = np.unique(prompt, return_inverse=True)
    count = len(distinct) if len(distinct) <= ONE_BY_ONE else count
    fold = np.empty(len(distinct), int)
    fold[np.random.default_rng(seed).permutation(len(distinct))] = np.arange(len(distinct)) % count
    return np.asarray(fold[row])
