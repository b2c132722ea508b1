"""What sways a vote besides which expert wrote the answer: length, layout, wording, and whether other answers agree.

These are differences of A and B, so exchanging the answers changes their signs. They are fitted with a router's scores
and then dropped: a router cannot choose them. Sources: length and layout as in style control of the public arena
(Li et al., "Does style matter?", 2024); agreement among answers as in self-consistency, arXiv:2203.11171, by words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
HEADER = re.compile(r"^#{1,6} ", re.MULTILINE)
ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)]) ", re.MULTILINE)
BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
END = re.compile(r"[.!?]")
GROUPS: dict[str, tuple[str, ...]] = {
    "length": ("words",),
    "layout": ("headers", "lists", "bold", "paragraphs"),
    "wording": ("repeated phrases", "repeated lines", "different words", "word length", "sentence length"),
    "agreement": ("alike", "usual length"),
}


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one prompt, and who wrote them."""

    prompt: str
    model_a: str
    model_b: str
    answer_a: str
    answer_b: str


def differences(pairs: Sequence[AnswerPair], groups: Sequence[str]) -> np.ndarray:
    """Return (N, k) float32: the columns of `groups` for A minus those for B, not yet scaled.

    Agreement compares an answer with all other answers to its prompt among `pairs`. No vote is read.
    """
    if not groups or not pairs:
        return np.zeros((len(pairs), 0), np.float32)
    seen: dict[tuple[str, str], list[float]] = {}
    asked = set(groups)
    for pair in pairs:
        for answer in (pair.answer_a, pair.answer_b):
            if (pair.prompt, answer) not in seen:
                found = {**_shape(answer), **_wording(answer)}
                names = [name for group in GROUPS if group in asked and group != "agreement" for name in GROUPS[group]]
                seen[pair.prompt, answer] = [found[name] for name in names]
    if "agreement" in asked:
        for key, values in agreement_of(pairs).items():
            seen[key] = [*seen[key], *values]
    a = np.array([seen[pair.prompt, pair.answer_a] for pair in pairs])
    b = np.array([seen[pair.prompt, pair.answer_b] for pair in pairs])
    return np.asarray(a - b, np.float32)


def agreement_of(pairs: Sequence[AnswerPair]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (mean cosine to other models' answers, minus the distance to the median log length) by (prompt, answer).

    The cosine is of log word counts. A text that several models wrote counts once for each.
    """
    writers: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for pair in pairs:
        for answer, model in ((pair.answer_a, pair.model_a), (pair.answer_b, pair.model_b)):
            writers[pair.prompt].setdefault(answer, set()).add(model)
    found = {}
    for prompt, answers in writers.items():
        cosines = _cosines(list(answers))
        count = np.array([len(models) for models in answers.values()], float)
        alike = (cosines @ count - np.diag(cosines)) / max(count.sum() - 1, 1)
        length = np.log1p([len(answer.split()) for answer in answers])
        usual = -np.abs(length - np.median(length))
        for i, answer in enumerate(answers):
            found[prompt, answer] = (float(alike[i]), float(usual[i]))
    return found


def scaled(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Return all arrays divided by the root mean square of the columns of `train`, which keeps the signs' meaning."""
    size = np.sqrt(np.square(train).mean(axis=0)) if len(train) else np.ones(train.shape[1])
    return [np.asarray(each / np.where(size > 0, size, 1), np.float32) for each in (train, *others)]


def _cosines(texts: Sequence[str]) -> np.ndarray:
    counts = [Counter(text.lower().split()) for text in texts]
    column = {word: i for i, word in enumerate(dict.fromkeys(word for count in counts for word in count))}
    rows = np.zeros((len(texts), max(len(column), 1)))
    for row, count in zip(rows, counts, strict=True):
        for word, times in count.items():
            row[column[word]] = 1 + np.log(times)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows @ rows.T)


def _shape(text: str) -> dict[str, float]:
    """Return logs of counts. Code in fences has no layout."""
    plain = FENCE.sub("", text)
    counts = {"headers": HEADER, "lists": ITEM, "bold": BOLD}
    return {
        "words": float(np.log1p(len(text.split()))),
        **{name: float(np.log1p(len(pattern.findall(plain)))) for name, pattern in counts.items()},
        "paragraphs": float(np.log1p(text.count("\n\n"))),
    }


def _wording(text: str) -> dict[str, float]:
    words = [word.lower().strip(".,!?;:\"'()") for word in text.split()]
    phrases = list(zip(words, words[1:], words[2:], strict=False))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return {
        "repeated phrases": 1 - len(set(phrases)) / max(len(phrases), 1) if phrases else 0.0,
        "repeated lines": 1 - len(set(lines)) / len(lines) if lines else 0.0,
        "different words": len(set(words)) / max(len(words), 1),
        "word length": sum(map(len, words)) / max(len(words), 1),
        "sentence length": float(np.log1p(len(words) / max(len(END.findall(text)), 1))),
    }
