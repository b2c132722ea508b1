"""Evaluates the trees of `expression` with sympy: exactly where possible, else to 30 digits. Runs in the tool worker.

Never parses text, because sympy's own parser evaluates Python. Checks sizes before it computes anything.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from sympy import Expr, Integer, Rational

from playground.experts.base import Refused
from playground.experts.tools.numerals import number_text

MAX_BITS = 12_000  # about 3,600 digits
MAX_FACTORIAL = 1_000
MAX_EXPONENTIAL = 5_000
DIGITS = 30
TOO_LARGE = "The result is too large to compute here."
NO_ZERO = "This divides by zero."
ZERO, TEN = Integer(0), Integer(10)
NOT_REAL = "The result is not a real number."


def solve(tree: list[Any]) -> dict[str, Any]:
    """Return {"result", "text", "is_exact"} of a tree, or {"refused": reason}. `text` is the number alone."""
    try:
        is_share = tree[0] == "ratio"
        value = _divide(evaluate(tree[1]), evaluate(tree[2])) * 100 if is_share else evaluate(tree)
        number, is_exact = _fraction(value)
        shown = number_text(number, is_exact=is_exact)
    except Refused as refusal:
        return {"refused": str(refusal)}
    if is_share:
        return {"result": f"{shown.text}%", "text": f"{shown.text}%", "is_exact": shown.is_exact}
    return {"result": shown.full, "text": shown.text, "is_exact": shown.is_exact}


def evaluate(tree: list[Any]) -> Expr:
    """Return the sympy value of a tree. Raise Refused when it has no real value or is too large."""
    kind = tree[0]
    if kind == "num":
        return Rational(tree[1])
    if kind == "const":
        return sympy.pi if tree[1] == "pi" else sympy.E
    if kind == "call":
        return _small(_call(tree[1], [evaluate(part) for part in tree[2:]]))
    if kind == "by":
        share = Rational(1, 100) * evaluate(tree[3])
        return _small(evaluate(tree[2]) * (1 + share if tree[1] == "+" else 1 - share))
    parts = [evaluate(part) for part in tree[1:]]
    return _small(OPERATORS[kind](*parts))


def _divide(a: Expr, b: Expr) -> Expr:
    if b.is_zero or b.evalf(DIGITS).is_zero:
        raise Refused(NO_ZERO)
    return a / b


def _modulo(a: Expr, b: Expr) -> Expr:
    if not (a.is_Rational and b.is_Rational):
        raise Refused("A remainder needs plain numbers.")
    if b.is_zero:
        raise Refused(NO_ZERO)
    return a % b


def _power(base: Expr, exponent: Expr) -> Expr:
    if base.is_zero and not exponent.is_positive:
        if exponent.is_zero:
            return Integer(1)
        raise Refused(NO_ZERO)
    if base in (0, 1):
        return base
    if base == -1 and exponent.is_Integer:
        return Integer(1 if int(exponent) % 2 == 0 else -1)
    if base.is_Rational and exponent.is_Integer and _stays_small(base, int(exponent)):
        return base**exponent
    if base.is_negative and not exponent.is_integer:
        raise Refused(NOT_REAL)
    bits = abs(float(exponent.evalf(15)) * float(sympy.log(abs(base), 2).evalf(15)))
    if not bits <= MAX_BITS:
        raise Refused(TOO_LARGE)
    if base.is_Rational and exponent == Rational(1, 2):
        return sympy.sqrt(base)
    return sympy.Pow(base.evalf(DIGITS + 10), exponent.evalf(DIGITS + 10))


def _stays_small(base: Expr, exponent: int) -> bool:
    """Return whether the power can be written out exactly."""
    return bool(max(abs(int(base.p)).bit_length(), int(base.q).bit_length()) * abs(exponent) <= MAX_BITS)


def _factorial(n: Expr) -> Expr:
    if not n.is_Integer or n < 0:
        raise Refused("A factorial needs a whole number from 0 up.")
    if n > MAX_FACTORIAL:
        raise Refused(f"The factorial is too large: at most {MAX_FACTORIAL}!.")
    return sympy.factorial(n)


def _root(x: Expr) -> Expr:
    if x.is_negative:
        raise Refused(NOT_REAL)
    return sympy.sqrt(x)


def _logarithm(x: Expr, base: Expr = TEN) -> Expr:
    if not x.is_positive or not base.is_positive or base == 1:
        raise Refused("A logarithm needs a number above 0.")
    return sympy.log(x, base)


def _exponential(x: Expr) -> Expr:
    if abs(x.evalf(15)) > MAX_EXPONENTIAL:
        raise Refused(TOO_LARGE)
    return sympy.exp(x)


def _average(*values: Expr) -> Expr:
    return sympy.Add(*values) / len(values)


def _round(x: Expr, places: Expr = ZERO) -> Expr:
    if not places.is_Integer or not 0 <= places <= DIGITS:
        raise Refused("Rounding needs a number of decimals from 0 to 30.")
    scale = 10 ** int(places)
    return sympy.sign(x) * sympy.floor(abs(x) * scale + Rational(1, 2)) / scale


def _whole(function: Callable[..., Expr]) -> Callable[..., Expr]:
    def checked(*values: Expr) -> Expr:
        if not all(value.is_Integer for value in values):
            raise Refused("This needs whole numbers.")
        return function(*values)

    return checked


OPERATORS: dict[str, Callable[..., Expr]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "mod": _modulo,
    "^": _power,
    "neg": lambda a: -a,
    "%": lambda a: a / 100,
    ")": lambda a: a,
    "degrees": lambda a: a * sympy.pi / 180,
    "share": lambda above, below, whole: above / below * whole,
}
TRIGONOMETRY = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
# name -> (function, least and most arguments)
CALLS: dict[str, tuple[Callable[..., Expr], int, int]] = {
    "sqrt": (_root, 1, 1),
    "cbrt": (lambda x: sympy.real_root(x, 3), 1, 1),
    "factorial": (_factorial, 1, 1),
    "exp": (_exponential, 1, 1),
    "ln": (lambda x: _logarithm(x, sympy.E), 1, 1),
    "log": (_logarithm, 1, 2),
    "log2": (lambda x: _logarithm(x, Integer(2)), 1, 1),
    "log10": (_logarithm, 1, 1),
    "abs": (sympy.Abs, 1, 1),
    "floor": (sympy.floor, 1, 1),
    "ceil": (sympy.ceiling, 1, 1),
    "round": (_round, 1, 2),
    "mod": (_modulo, 2, 2),
    "gcd": (_whole(sympy.gcd), 2, 2),
    "lcm": (_whole(sympy.lcm), 2, 2),
    "min": (sympy.Min, 1, 100),
    "max": (sympy.Max, 1, 100),
    "sum": (sympy.Add, 2, 100),
    "product": (sympy.Mul, 2, 100),
    "difference": (lambda a, b: abs(a - b), 2, 2),
    "average": (_average, 2, 100),
    **{name: (getattr(sympy, name), 1, 1) for name in TRIGONOMETRY},
}


def _call(name: str, values: list[Expr]) -> Expr:
    function, least, most = CALLS[name]
    if not least <= len(values) <= most:
        raise Refused(f"{name} needs {least if least == most else f'{least} to {most}'} numbers, not {len(values)}.")
    if name in ("sinh", "cosh", "tanh") and abs(values[0].evalf(15)) > MAX_EXPONENTIAL:
        raise Refused(TOO_LARGE)
    return function(*values)


def _small(value: Expr) -> Expr:
    """Return `value`. Raise Refused when it is not a real number, or a fraction that is too large."""
    if value.is_Rational:
        if max(abs(int(value.p)).bit_length(), int(value.q).bit_length()) > MAX_BITS:
            raise Refused(TOO_LARGE)
        return value
    if value.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise Refused(NO_ZERO)
    if value.is_real is False:
        raise Refused(NOT_REAL)
    return value


def _fraction(value: Expr) -> tuple[Fraction, bool]:
    """Return the value as a fraction, and whether that is exact."""
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q)), True
    number = value.evalf(DIGITS, maxn=500)
    if not number.is_Float:
        raise Refused(NOT_REAL if number.is_real is False or number.has(sympy.I) else "This has no single value.")
    nearest = Rational(number)
    return Fraction(int(nearest.p), int(nearest.q)), False
