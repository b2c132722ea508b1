"""The unit converter: reads a quantity and a wanted unit from a prompt and has them converted in the tool worker.

Source: MRKL (arXiv:2205.00445), symbolic experts. Unit names go to pint one by one. No text is ever evaluated.
"""

import re
from dataclasses import dataclass

from playground.experts.base import Refused, Solution, tool
from playground.experts.tools.numerals import grouped, read_words
from playground.experts.tools.worker_tool import WorkerTool

CONVERT = "playground.experts.tools.units.quantities:convert"
MAX_CHARS = 500
MAX_DIGITS = 40
MAX_PARTS = 3
NOTHING = "There is no conversion in this prompt. Name a quantity and a unit, for example: 5 miles in km."

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d{1,3}(?!\d))?"
AMOUNT = re.compile(
    rf"(?<![\w.])(?P<sign>[-−]\s?)?(?P<whole>{NUMBER})(?:\s?/\s?(?P<below>\d+)|\s+(?P<part>\d+)/(?P<of>\d+))?", re.I
)
CONNECTOR = re.compile(
    r"\s(?:(?:is|equals?|are)\s+)?(?:expressed in|converted to|into|to|in|as|->|→|=)(?=\s)(?:\show many(?=\s))?"
    r"|\s(?:is|are|equals?)\s+how many(?=\s)",
    re.I,
)
FEET = re.compile(r"(?<=\d)\s?['′](?:\s?(\d+(?:\.\d+)?)\s?(?:\"|″|''))?(?!\w)")
HOW_MANY = re.compile(
    r"how (?:many|much)\s+(?P<wanted>.{1,40}?)\s+(?:(?:is|are|equals?|make|makes|make up|does|do|would be)\s+)?"
    r"(?:there\s+)?(?:(?:in|to|for|per)\s+)?(?P<given>(?:a|an|one)\s.{1,40}|[-−]?[\d.].{0,80})$",
    re.I,
)
WORDS = re.compile(r"[^\W\d_]+")
TRAILING = " \t\n?!.;:,\"'"
ONE = re.compile(r"^(?:a|an)\s+(?=[^\W\d_])|^half an?\s+", re.I)
# one word each; names and plurals that pint knows by itself are left out
NAMES = {
    "f": "degF", "fahrenheit": "degF", "c": "degC", "celsius": "degC", "centigrade": "degC", "k": "kelvin",
    "kelvins": "kelvin", "in": "inch", "ft": "foot", "lbs": "pound", "oz": "ounce", "ozs": "ounce", "mph": "mile/hour",
    "mpg": "mile/gallon", "kph": "kilometer/hour", "kmh": "kilometer/hour", "mps": "meter/second",
    "knots": "knot", "kn": "knot",
    "hp": "horsepower", "sec": "second", "secs": "second", "mins": "minute", "hr": "hour", "hrs": "hour", "yr": "year",
    "yrs": "year", "yd": "yard", "yds": "yard", "gal": "gallon", "gals": "gallon", "ltr": "liter", "l": "liter",
    "tonne": "metric_ton", "tonnes": "metric_ton", "cal": "calorie", "kcal": "kilocalorie", "mb": "megabyte",
    "gb": "gigabyte", "kb": "kilobyte", "tb": "terabyte", "grammes": "gram", "kilo": "kilogram", "kilos": "kilogram",
    "°": "degree", "sqm": "meter^2", "sqft": "foot^2", "cc": "centimeter^3", "stones": "stone", "miles": "mile",
}  # fmt: skip
PAIRS = {
    ("fluid", "ounce"): "fluid_ounce", ("fluid", "ounces"): "fluid_ounce", ("fl", "oz"): "fluid_ounce",
    ("light", "year"): "light_year", ("light", "years"): "light_year", ("nautical", "mile"): "nautical_mile",
    ("nautical", "miles"): "nautical_mile", ("metric", "ton"): "metric_ton", ("metric", "tons"): "metric_ton",
    ("metric", "tonnes"): "metric_ton", ("short", "tons"): "short_ton", ("long", "tons"): "long_ton",
}  # fmt: skip
BITS = {"Mb": "megabit", "Gb": "gigabit", "Tb": "terabit"}  # where MB and mb are bytes
POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
PIECE = re.compile(
    r"(?P<name>°?[^\W\d_²³]+(?:_[^\W\d_]+)*|°)|(?P<power>\^\s?-?\d|\*\*\s?-?\d|²|³|(?<=[a-z])[23](?!\d))"
    r"|(?P<sign>[/*·])|(?P<odd>\S)",
    re.I,
)
SCALE = re.compile(r"\b(?:degrees?|deg)\s+(?=(?:fahrenheit|celsius|centigrade|kelvin|f|c|k)\b)", re.I)

Factors = list[tuple[str, int]]  # (pint name, power)


@dataclass(frozen=True)
class Conversion:
    """A conversion that was asked for.

    `amounts` are numbers with their units (5 feet 3 inches has two). The two texts are as the person wrote them.
    """

    amounts: tuple[tuple[str, Factors], ...]
    wanted: Factors
    given_text: str
    wanted_text: str


@tool(
    "units",
    title="Unit converter",
    description="Converts a quantity from one unit to another: length, mass, volume, speed, temperature and more.",
    mark="Un",
    slot=9,
    licence="BSD-3-Clause",
    examples=("convert 5 miles to km", "how many grams in 3 oz", "100 F in C", "60 mph in m/s"),
)
class Units(WorkerTool):
    """Converts exactly and refuses what cannot be converted."""

    def solve(self, prompt: str) -> Solution:
        """Return the converted quantity."""
        asked = read_conversion(prompt)
        query = f"{asked.given_text} in {asked.wanted_text}"
        answer = self.work_out(CONVERT, {"amounts": asked.amounts, "wanted": asked.wanted}, query=query)
        unit = answer["symbol"] or asked.wanted_text
        about = "" if answer["is_exact"] else "about "
        sentence = f"{grouped(asked.given_text)} is {about}{grouped(answer['text'])} {unit}."
        return Solution(query, f"{answer['text']} {unit}", sentence)


def read_conversion(prompt: str) -> Conversion:
    """Return the conversion that `prompt` asks for. Raise Refused when there is none, or when it cannot be read."""
    if len(prompt.strip()) > MAX_CHARS:
        raise Refused(f"The prompt is too long for a conversion: at most {MAX_CHARS} characters.")
    text = FEET.sub(lambda match: f" ft {match[1]} in" if match[1] else " ft", prompt).strip(TRAILING)
    text = _with_digits(text)
    asked = HOW_MANY.search(text)
    if asked:
        return _conversion(asked["given"], asked["wanted"])
    first = AMOUNT.search(text) or re.search(r"\b(?:a|an|half an?)\s", text, re.I)
    places = list(CONNECTOR.finditer(text))
    if first is None or not places or places[-1].start() < first.start():
        raise Refused(NOTHING)
    return _conversion(text[first.start() : places[-1].start()], text[places[-1].end() :])


def _conversion(given: str, wanted: str) -> Conversion:
    given, wanted = given.strip(TRAILING), wanted.strip(TRAILING)
    return Conversion(_amounts(given), _factors(wanted), given, wanted)


def _amounts(text: str) -> tuple[tuple[str, Factors], ...]:
    """Return each number with its unit, in order."""
    one = ONE.match(text)
    if one:
        return (("1/2" if "half" in one.group().lower() else "1", _factors(text[one.end() :])),)
    numbers = [match for match in AMOUNT.finditer(text) if not re.search(r"\^\s?$|\*\*\s?$", text[: match.start()])]
    if not numbers or numbers[0].start() != 0:
        raise Refused(NOTHING)
    if len(numbers) > MAX_PARTS:
        raise Refused(f"The quantity has too many parts: at most {MAX_PARTS}.")
    ends = [*(match.start() for match in numbers[1:]), len(text)]
    return tuple((_number(m), _factors(text[m.end() : end])) for m, end in zip(numbers, ends, strict=True))


def _number(match: re.Match[str]) -> str:
    """Return the number as a text that Fraction reads."""
    if len(match.group()) > MAX_DIGITS:
        raise Refused(f"The number is too long: at most {MAX_DIGITS} characters.")
    whole = match["whole"].replace(",", "")
    sign = "-" if match["sign"] else ""
    if match["below"] or match["of"]:
        below = match["below"] or match["of"]
        if int(below) == 0 or "." in whole or "e" in whole.lower():
            raise Refused("The fraction cannot be read.")
        above = int(whole) if match["below"] else int(whole) * int(below) + int(match["part"])
        return f"{sign}{above}/{below}"
    return f"{sign}{whole}"


def _factors(text: str) -> Factors:
    """Return [("foot", 2)] for "square feet", [("m", 1), ("s", -1)] for "m/s". Raise Refused when it is no unit."""
    cleaned = SCALE.sub("", text.strip())
    if cleaned.lower() in ("m/h", "mi/h"):
        cleaned = "mph"
    found: Factors = []
    side, power, last = 1, 1, ""
    for piece in PIECE.finditer(re.sub(r"\bper\b", "/", cleaned, flags=re.I)):
        word = piece.group().lower()
        if piece["odd"]:
            raise Refused(f"The unit {text.strip()[:40]!r} cannot be read.")
        if piece["sign"]:
            side, last = (-1 if word == "/" else side), ""
        elif piece["power"] or (word in POWERS and last and word.endswith("ed")):
            _raise_last(found, piece.group())
        elif word in POWERS:
            power = POWERS[word]
        elif word not in ("the", "a", "an", "of", "and"):
            if (last, word) in PAIRS:
                found.pop()
                found.append((PAIRS[last, word], side * power))
            else:
                found.extend(_named(piece.group(), side * power))
            last = word
            power = power if word in {first for first, _ in PAIRS} else 1
    if not found:
        raise Refused(NOTHING)
    if len(found) > 2 * MAX_PARTS:
        raise Refused(f"The unit {text.strip()[:40]!r} cannot be read.")
    return found


def _named(word: str, power: int) -> Factors:
    name = BITS.get(word) or NAMES.get(word.lower().removeprefix("°") or "°", word)
    above, _, below = name.partition("/")
    base, _, times = above.partition("^")
    return [(base, power * int(times or 1)), *([(below, -power)] if below else [])]


def _raise_last(found: Factors, text: str) -> None:
    digits = {"²": "2", "³": "3", "squared": "2", "cubed": "3"}.get(text.lower(), text.strip("^* "))
    if not found or not 1 <= abs(int(digits)) <= 4:
        raise Refused("The power of the unit cannot be read: at most 4.")
    name, power = found[-1]
    found[-1] = (name, power * int(digits))


def _with_digits(text: str) -> str:
    """Return `text` with numbers in words ("five miles") as digits. Words such as the unit "second" stay."""
    words = list(WORDS.finditer(text))
    lower = [match.group().lower() for match in words]
    parts, position, done = [], 0, 0
    while position < len(words):
        number = read_words(lower, position)
        if number is None:
            position += 1
            continue
        value, end = number
        parts.append(text[done : words[position].start()] + str(value))
        done, position = words[end - 1].end(), end
    return "".join(parts) + text[done:]
