"""Finds the calculations in a prompt and reads them into trees, by recursive descent over a closed grammar.

A tree is a JSON list: ["num", "2340"], ["+", a, b], ["call", "sqrt", a]. Evaluates nothing.
"""

from dataclasses import dataclass
from typing import Any

from playground.experts.base import Refused
from playground.experts.tools.calculator.tokens import Token, tokens

Tree = list[Any]
MAX_CHARS = 2_000
MAX_TOKENS = 300
MAX_DEPTH = 30
MAX_FOUND = 3
NUMBER_STARTS = ("number", "constant", "function", "share", "many")
BARE = ("sqrt", "cbrt", "sin", "cos", "tan", "ln", "log", "log2", "log10", "exp", "factorial")  # without brackets
# words that may stand around a calculation without making it a story
FRAMING = {
    "what", "what's", "whats", "is", "are", "the", "of", "a", "an", "calculate", "compute", "evaluate", "work", "out",
    "find", "solve", "tell", "me", "please", "can", "could", "you", "how", "much", "does", "do", "equal", "equals",
    "make", "value", "result", "answer", "to", "for", "give", "i", "need", "whats's", "and", "hey", "hi", "thanks",
    "thank", "just", "exactly", "it", "this", "now", "quickly", "simplify", "by", "than", "in", "as", "your", "my",
    "us", "we", "get", "be", "would", "will", "that's", "let's",
}  # fmt: skip


@dataclass(frozen=True)
class Calculation:
    """A calculation found in a prompt: its tree and its text."""

    tree: Tree
    text: str


class _NotHere(Exception):
    """No expression starts at this token: the search goes on with the next."""


def find_calculations(prompt: str) -> list[Calculation]:
    """Return up to three calculations in reading order. Raise Refused for one that is malformed or too big.

    In a prompt that tells a story, a bare difference or quotient of two numbers does not count. It is mostly a date,
    a score or a range.
    """
    text = prompt.strip()
    if len(text) > MAX_CHARS:
        raise Refused(f"The prompt is too long for a calculation: at most {MAX_CHARS:,} characters.")
    line = tokens(text)
    if len(line) > MAX_TOKENS:
        raise Refused(f"The prompt is too long for a calculation: at most {MAX_TOKENS} numbers, signs and words.")
    found: list[tuple[int, int, Tree]] = []
    position = 0
    while position < len(line) and len(found) < MAX_FOUND:
        reader = _Reader(line, position)
        try:
            tree = reader.statement()
        except _NotHere:
            position += 1
            continue
        if _computes(tree):
            _check_edges(line, position, reader.at)
            found.append((position, reader.at, tree))
        position = max(reader.at, position + 1)
    inside = {i for start, end, _ in found for i in range(start, end)}
    is_story = any(t.kind == "word" and t.value not in FRAMING for i, t in enumerate(line) if i not in inside)
    return [
        Calculation(tree, text[line[start].start : line[end - 1].end])
        for start, end, tree in found
        if not (is_story and _is_weak(tree))
    ]


def _check_edges(line: list[Token], start: int, end: int) -> None:
    """Raise Refused when an operator stands loose beside the calculation: the person meant more than was read."""
    before = line[start - 1] if start else None
    after = line[end] if end < len(line) else None
    if after is not None and after.value == "=" and end + 1 < len(line) and line[end + 1].kind != "mark":
        raise Refused("This is an equation. The calculator works out one side only, for example: 3 * 8 + 7.")
    for neighbour, harmless in ((before, "=,)"), (after, "=,(")):
        if neighbour is not None and neighbour.kind == "operator" and neighbour.value not in harmless:
            raise Refused(f"The calculation cannot be read near {neighbour.value!r}: check its brackets and signs.")
    unread = [t.value for t in line if t.kind == "operator" and t.value in "()"]
    if unread.count("(") != unread.count(")"):
        raise Refused("The calculation cannot be read: its brackets do not match.")


def _computes(tree: Tree) -> bool:
    """Return whether there is anything to work out. A bare number, signed or in brackets, needs no work."""
    return _computes(tree[1]) if tree[0] in ("neg", ")", "degrees") else tree[0] not in ("num", "const")


def _is_weak(tree: Tree) -> bool:
    """Return whether a story may hold this without asking: 3-2, 24/7, 50% of people, "I won 5!", a third of 24."""
    if tree[0] in ("%", "share") or tree[:2] == ["call", "factorial"]:
        return True
    return tree[0] in ("-", "/") and all(part[0] in ("num", "-", "/") for part in tree[1:] if isinstance(part, list))


class _Reader:
    """Reads one statement from the tokens `line` at `at`. `depth` counts the open brackets, calls and signs."""

    def __init__(self, line: list[Token], at: int) -> None:
        self.line = line
        self.at = at
        self.depth = 0

    def is_next(self, kind: str, *values: str, ahead: int = 0) -> bool:
        """Return whether the token `ahead` is of `kind` and, when `values` are given, one of them."""
        place = self.at + ahead
        token = self.line[place] if place < len(self.line) else None
        return token is not None and token.kind == kind and (not values or token.value in values)

    def take(self, kind: str, *values: str) -> bool:
        """Step over the next token if it fits, and return whether it did."""
        fits = self.is_next(kind, *values)
        self.at += fits
        return fits

    def need(self, kind: str, *values: str) -> None:
        """Step over a token that must be there. Raise _NotHere when it is not."""
        if not self.take(kind, *values):
            raise _NotHere

    def statement(self) -> Tree:
        """Read a change ("increase 80 by 15%"), a share ("what % of 80 is 20"), or an expression."""
        if self.is_next("change"):
            sign = self.line[self.at].value
            self.at += 1
            return self.changed(sign, self.sum())
        if self.take("operator", "%"):
            self.need("word", "of")
            whole = self.sum()
            self.need("word", "is")
            return ["ratio", self.sum(), whole]
        tree = self.sum()
        if self.is_next("change") and self.is_next("word", "by", ahead=1):
            sign = self.line[self.at].value
            self.at += 1
            return self.changed(sign, tree)
        return self.compared(tree)

    def changed(self, sign: str, tree: Tree) -> Tree:
        """Read the amount after "by". A percentage changes by that share, a number by itself."""
        self.need("word", "by")
        amount = self.sum()
        return ["by", sign, tree, amount[1]] if amount[0] == "%" else [sign, tree, amount]

    def compared(self, tree: Tree) -> Tree:
        """Read what follows an expression: "30% off 90", "is what percent of 80", "as a percentage of 80"."""
        start = self.at
        if tree[0] == "%" and self.take("word", "off"):
            return ["by", "-", self.sum(), tree[1]]
        for words in (("is", "what"), ("as", "a"), ("as",)):
            self.at = start
            if (
                all(self.take("word", word) for word in words)
                and self.take("operator", "%")
                and self.take("word", "of")
            ):
                return ["ratio", tree, self.sum()]
        self.at = start
        return tree

    def sum(self) -> Tree:
        """Read product (('+' | '-') product)*. A percentage on the right is a share of the left: 80 + 15%."""
        tree = self.product()
        while self.is_next("operator", "+", "-") and self.continues():
            sign = self.line[self.at].value
            self.at += 1
            right = self.product()
            tree = ["by", sign, tree, right[1]] if right[0] == "%" and tree[0] != "%" else [sign, tree, right]
        return tree

    def product(self) -> Tree:
        """Read power (('*' | '/' | 'mod' | 'of') power)*. "of" needs a percentage, fraction or quotient before it."""
        tree = last = self.signed()
        while True:
            if self.is_next("operator", "*", "/", "mod") and self.continues():
                sign = self.line[self.at].value
                self.at += 1
                tree = last = [sign, tree, self.signed()]
            elif last[0] in ("%", "/") and self.is_next("word", "of") and self.starts(1):
                self.at += 1
                last = self.signed()
                tree = ["*", tree, last]
            elif tree[0] in ("num", ")") and self.is_next("operator", "(") and self.starts():
                tree = ["*", tree, self.signed()]
            else:
                return tree

    def continues(self) -> bool:
        """Return whether something to compute stands behind the next operator."""
        return self.starts(1)

    def starts(self, ahead: int = 0) -> bool:
        """Return whether an operand starts `ahead` tokens on."""
        place = self.at + ahead
        if place >= len(self.line):
            return False
        token = self.line[place]
        return token.kind in NUMBER_STARTS or (token.kind == "operator" and token.value in "(-+√")

    def signed(self) -> Tree:
        """Read a power with a sign before it: -2^2 is -(2^2)."""
        negative = False
        while self.is_next("operator", "-", "+"):
            negative ^= self.line[self.at].value == "-"
            self.at += 1
        tree = self.power()
        return ["neg", tree] if negative else tree

    def power(self) -> Tree:
        """Read operand ('^' power)?, right to left."""
        tree = self.suffixed()
        if self.is_next("operator", "^") and self.continues():
            self.at += 1
            self.deeper()
            tree = ["^", tree, self.signed()]
            self.depth -= 1
        return tree

    def suffixed(self) -> Tree:
        """Read an operand with what may stand behind it: ! % ² ³ °, or a fraction word ("two thirds")."""
        tree = self.operand()
        while True:
            if self.take("operator", "!") or (tree[0] == "num" and self.take("function", "factorial")):
                tree = ["call", "factorial", tree]
            elif self.take("operator", "²"):
                tree = ["^", tree, ["num", "2"]]
            elif self.take("operator", "³"):
                tree = ["^", tree, ["num", "3"]]
            elif self.take("operator", "°"):
                tree = ["degrees", tree]
            elif self.is_next("operator", "%"):
                self.at += 1
                if self.is_next("number"):
                    return ["mod", tree, self.power()]
                tree = ["%", tree]
            else:
                return tree

    def operand(self) -> Tree:
        """Read a number, a constant, a bracket, or a function of one."""
        if self.at >= len(self.line):
            raise _NotHere
        token = self.line[self.at]
        self.at += 1
        if token.kind == "number":
            if self.is_next("share") and self.is_next("word", "of", ahead=1):
                share = self.line[self.at].value
                self.at += 1
                return ["/", ["num", token.value], ["num", share.partition("/")[2]]]
            return ["num", token.value]
        if token.kind == "constant":
            return ["const", token.value]
        if token.kind == "share":
            return self.share(token.value)
        self.deeper()
        tree = self.inner(token)
        self.depth -= 1
        return tree

    def inner(self, token: Token) -> Tree:
        """Read what holds other expressions: brackets, roots, functions and lists."""
        if token.kind == "operator" and token.value == "(":
            tree = self.sum()
            self.need("operator", ")")
            return tree if tree[0] != "num" else [")", tree]
        if token.kind == "operator" and token.value == "√":
            return ["call", "sqrt", self.power()]
        if token.kind == "function":
            if self.take("operator", "("):
                return ["call", token.value, *self.listed(")")]
            if token.value not in BARE:
                raise _NotHere
            self.take("word", "of")
            return ["call", token.value, self.power()]
        if token.kind == "many":
            if token.value != "difference":
                self.need("word", "of")
            items = self.listed("")
            if len(items) < 2:
                raise _NotHere
            return ["call", token.value, *items]
        raise _NotHere

    def share(self, value: str) -> Tree:
        """Read "half of 50" or "twice 8": the fraction times what follows."""
        above, _, below = value.partition("/")
        if below != "1":
            self.need("word", "of")
        return ["share", ["num", above], ["num", below], self.signed()]

    def listed(self, close: str) -> list[Tree]:
        """Read expressions between commas or "and", up to the bracket `close` or, without one, as far as they go."""
        items = [self.sum()]
        while len(items) < MAX_TOKENS:
            start = self.at
            comma, word = self.take("operator", ","), self.take("word", "and")
            if not (comma or (word and not close)) or not self.starts():
                self.at = start
                break
            items.append(self.sum())
        if close:
            self.need("operator", close)
        return items

    def deeper(self) -> None:
        """Go one level down. Raise Refused when that is too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(f"The calculation is nested too deeply: at most {MAX_DEPTH} levels.")
