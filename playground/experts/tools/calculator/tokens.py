"""Cuts a prompt into the tokens of a calculation: numbers, operators, function names and other words.

Words that mean arithmetic ("divided by", "squared", "twenty five") become their symbols. Standard library only.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from playground.experts.base import Refused
from playground.experts.tools.numerals import SCALES, read_words

TokenKind = Literal["number", "operator", "function", "many", "constant", "share", "change", "word", "mark"]
MAX_DIGITS = 50
MAX_EXPONENT = 300

LEXEME = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)"
    r"|(?P<operator>\*\*|[-+*/^!()%,=×÷·−–√²³°])"  # before words: ² and ³ are letters to a regular expression
    r"|(?P<word>[^\W\d_²³]+(?:10|2(?!\d))?(?:['’][^\W\d_]+)?)"
    r"|(?P<money>[$€£])"
    r"|(?P<mark>[^\s\w])"
    r"|(?P<odd>\S)"
)
LEADING_ZERO = re.compile(r"0\d")
SYMBOLS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "**": "^"}
# phrase -> (kind, value); longest first
PHRASES: dict[tuple[str, ...], tuple[TokenKind, str]] = {
    ("to", "the", "power", "of"): ("operator", "^"),
    ("to", "the", "power"): ("operator", "^"),
    ("raised", "to", "the", "power", "of"): ("operator", "^"),
    ("raised", "to"): ("operator", "^"),
    ("multiplied", "by"): ("operator", "*"),
    ("divided", "by"): ("operator", "/"),
    ("times",): ("operator", "*"),
    ("plus",): ("operator", "+"),
    ("minus",): ("operator", "-"),
    ("mod",): ("operator", "mod"),
    ("modulo",): ("operator", "mod"),
    ("squared",): ("operator", "²"),
    ("cubed",): ("operator", "³"),
    ("percent",): ("operator", "%"),
    ("per", "cent"): ("operator", "%"),
    ("percentage",): ("operator", "%"),
    ("degrees",): ("operator", "°"),
    ("square", "root"): ("function", "sqrt"),
    ("cube", "root"): ("function", "cbrt"),
    ("factorial",): ("function", "factorial"),
    ("pi",): ("constant", "pi"),
    ("π",): ("constant", "pi"),
    ("e",): ("constant", "e"),
    ("twice",): ("share", "2/1"),
    ("double",): ("share", "2/1"),
    ("triple",): ("share", "3/1"),
    ("sum",): ("many", "sum"),
    ("total",): ("many", "sum"),
    ("product",): ("many", "product"),
    ("difference", "between"): ("many", "difference"),
    ("average",): ("many", "average"),
    ("mean",): ("many", "average"),
}
FRACTIONS = {"half": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10, "hundredth": 100}
CHANGES = {
    **dict.fromkeys(("increase", "raise", "increased", "raised"), "+"),
    **dict.fromkeys(("decrease", "reduce", "lower", "decreased", "reduced", "lowered"), "-"),
}
FUNCTIONS = (
    "sqrt", "cbrt", "abs", "exp", "ln", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "floor", "ceil", "round", "factorial", "gcd", "lcm", "min", "max", "mod",
)  # fmt: skip
LONGEST = max(len(phrase) for phrase in PHRASES)


@dataclass(frozen=True)
class Token:
    """One token. `start` and `end` are its place in the prompt."""

    kind: TokenKind
    value: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text` in order. Raise Refused for a number that is too long."""
    raw = [_lexeme(match) for match in LEXEME.finditer(text.lower()) if match.lastgroup != "money"]
    for left, right in pairwise(raw):
        if left.kind == right.kind == "number" and left.end == right.start:
            raise Refused(f"A number cannot be read: {text[left.start : right.end]}.")
    words = [token.value if token.kind == "word" else "" for token in raw]
    found: list[Token] = []
    position = 0
    while position < len(raw):
        token, position = _next(raw, words, position)
        found.append(token)
    return found


def _lexeme(match: re.Match[str]) -> Token:
    group, text = match.lastgroup or "", match.group()
    if group == "number" and LEADING_ZERO.match(text):
        return Token("word", text, *match.span())  # part of a date or a code
    if group == "number":
        return Token("number", _checked(text.replace(",", "")), *match.span())
    if group == "operator":
        return Token("operator", SYMBOLS.get(text, text), *match.span())
    return Token("word" if group in ("word", "odd") else "mark", text, *match.span())


def _checked(number: str) -> str:
    digits, _, exponent = number.partition("e")
    if len(digits) > MAX_DIGITS or (exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT)):
        raise Refused(f"A number is too long: at most {MAX_DIGITS} digits and a power of ten up to {MAX_EXPONENT}.")
    return number


def _next(raw: list[Token], words: list[str], position: int) -> tuple[Token, int]:
    """Return the token at `position` and the position behind it. Phrases and number words make one token."""
    here = raw[position]
    scale = SCALES.get(words[position + 1]) if position + 1 < len(raw) else None
    if here.kind == "number" and scale and "e" not in here.value:
        return Token("number", f"{here.value}e{len(str(scale)) - 1}", here.start, raw[position + 1].end), position + 2
    if here.kind != "word":
        return here, position + 1
    for length in range(min(LONGEST, len(raw) - position), 0, -1):
        known = PHRASES.get(tuple(words[position : position + length]))
        if known:
            return Token(*known, here.start, raw[position + length - 1].end), position + length
    if (
        here.value == "x"
        and position + 1 < len(raw)
        and (raw[position + 1].kind == "number" or raw[position + 1].value == "(")
    ):
        return Token("operator", "*", here.start, here.end), position + 1  # 2 x 3, but not 3x + 7
    number = read_words(words, position)
    if number:
        value, end = number
        return Token("number", str(value), here.start, raw[end - 1].end), end
    singular = here.value.removesuffix("s") if here.value != "halves" else "half"
    if singular in FRACTIONS:
        return Token("share", f"1/{FRACTIONS[singular]}", here.start, here.end), position + 1
    if here.value in CHANGES:
        return Token("change", CHANGES[here.value], here.start, here.end), position + 1
    if here.value in FUNCTIONS:
        return Token("function", here.value, here.start, here.end), position + 1
    return here, position + 1
