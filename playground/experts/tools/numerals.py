"""Numbers as people write them: words into digits, exact values into short plain text. Standard library only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
UNITS = {word: value for value, word in enumerate(SMALL)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
FULL_DIGITS = 60  # longer integers are shown as a power of ten
FULL_DECIMALS = 12
DECIMALS = 6
GROUPED = re.compile(r"(?<!e[+-])(?<![\w.,])\d{4,99}(?!\d|e)")


def read_words(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """Return the number written in words at `start` and the position behind it, or None when there is none.

    Reads up to 999 billion: "two thousand and five", "twenty five". A second number right behind is not joined.
    """
    total, group, position, last, said = 0, 0, start, 10**12, False
    while position < len(words):
        word = words[position]
        if word in UNITS and (last >= 100 or (last == 10 and 1 <= UNITS[word] <= 9)):
            group, last = group + UNITS[word], 1
        elif word in TENS and last >= 100:
            group, last = group + TENS[word], 10
        elif word == "hundred" and said and last == 1 and 1 <= group <= 9:
            group, last = group * 100, 100
        elif word in SCALES and said and group and (total == 0 or SCALES[word] < _lowest(total)):
            total, group, last = total + group * SCALES[word], 0, 1000
        elif (
            word == "and" and last in (100, 1000) and position + 1 < len(words) and _is_number_word(words[position + 1])
        ):
            position += 1
            continue
        else:
            break
        said = True
        position += 1
    return (total + group, position) if said else None


def _lowest(total: int) -> int:
    return next(scale for scale in SCALES.values() if total % (scale * 1000) or scale == 10**9)


def _is_number_word(word: str) -> bool:
    return word in UNITS or word in TENS


@dataclass(frozen=True)
class NumberText:
    """A number as `text`. It was rounded when `is_exact` is False. `fraction` is "1/3" where that is shorter."""

    text: str
    is_exact: bool
    fraction: str = ""

    @property
    def full(self) -> str:
        """Return the text, with the fraction behind it if there is one."""
        return f"{self.text} ({self.fraction})" if self.fraction else self.text


def number_text(value: Fraction, *, is_exact: bool = True) -> NumberText:
    """Return `value` as a person writes it: 397.8, not 397.800000. Endless decimals are rounded to 6."""
    if value.denominator == 1 and len(str(abs(value.numerator))) <= FULL_DIGITS:
        return NumberText(str(value.numerator), is_exact)
    decimals = _ending_decimals(value.denominator)
    if decimals is not None and decimals <= FULL_DECIMALS and abs(value) < 10**FULL_DIGITS:
        scaled = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
        sign = "-" if value < 0 else ""
        return NumberText(f"{sign}{scaled[:-decimals]}.{scaled[-decimals:]}", is_exact)
    fraction = ""
    if is_exact and value.denominator <= 9999 and abs(value.numerator) < 10**9:
        fraction = f"{value.numerator}/{value.denominator}"
    return NumberText(_rounded(value), False, fraction)


def grouped(text: str) -> str:
    """Return `text` with thousands separators in its long whole numbers: 2340.5 becomes 2,340.5."""
    return GROUPED.sub(lambda match: f"{int(match.group()):,}", text)


def _ending_decimals(denominator: int) -> int | None:
    """Return how many decimals a fraction with this denominator has, or None when they never end."""
    count = 0
    while denominator % 10 == 0:
        denominator, count = denominator // 10, count + 1
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator, count = denominator // prime, count + 1
    return count if denominator == 1 else None


def _rounded(value: Fraction) -> str:
    precise = Context(prec=40, Emax=999_999, Emin=-999_999)
    number = precise.divide(Decimal(value.numerator), Decimal(value.denominator))
    size = number.adjusted()
    if size >= 15 or size < -6:
        short = f"{number:.{DECIMALS}e}"
        digits, _, power = short.partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power):+d}"
    places = DECIMALS if size >= -3 else DECIMALS - 1 - size
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
