import time
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.experts.base import Refused
from playground.experts.tools.calculator.arithmetic import solve
from playground.experts.tools.calculator.calculator import Calculator
from playground.experts.tools.calculator.expression import find_calculations
from playground.experts.tools.worker import Worker

ANSWERS = {
    "What is 17% of 2,340?": "397.8",
    "sqrt(2)*15": "21.213203",
    "12.5 * (3+4)": "87.5",
    "Calculate 348 + 1,927": "2275",
    "What's 9 to the power of 5?": "59049",
    "7! / 5!": "42",
    "compute 3.14159 * 8^2": "201.06176",
    "How much is 15 percent of 260?": "39",
    "(1/3 + 1/4) * 12": "7",
    "1/3": "0.333333 (1/3)",
    "increase 80 by 15%": "92",
    "decrease 250 by 20%": "200",
    "80 + 15%": "92",
    "100 - 10%": "90",
    "30% off 89.90": "62.93",
    "10% of 10% of 1000": "10",
    "What is 20 as a percentage of 80?": "25%",
    "what percent of 80 is 20": "25%",
    "what is the square root of 529": "23",
    "√(49) + 3³": "34",
    "1024 ÷ 32 × 5": "160",
    "6 × 7 − 8": "34",
    "2 x 3": "6",
    "-2^2": "-4",
    "2^3^2": "512",
    "2^-3": "0.125",
    "sin(pi/6) + cos(0)": "1.5",
    "sin 30°": "0.5",
    "log(8, 2)": "3",
    "log10(1000)": "3",
    "factorial of 12": "479001600",
    "five hundred and forty two plus one": "543",
    "twenty five times four": "100",
    "2 million divided by 4": "500000",
    "two thirds of 90": "60",
    "average of 12, 19 and 26": "19",
    "difference between 4 and 10": "6",
    "17 mod 5": "2",
    "17 % 5": "2",
    "15% of $80": "12",
    "0.1+0.2": "0.3",
    "What is 3+4 and 5*6?": "7; 30",
    "(-1)^1000000001": "-1",
    "My rent is 2,340 and it goes up. What is 17% of 2,340?": "397.8",
}
NO_CALCULATION = [
    "",
    "   ",
    "Write a poem about the sea.",
    "two dozen roses for 1984",
    "in May",
    "5 ft 3",
    "Who wrote 1984?",
    "Tom has 24 apples. He gives a third to his sister and eats 2. How many are left?",
    "Meet me on 2024-05-01",
    "call 555-1234 after lunch",
    "the score was 3-2 in the end",
    "24/7 support is what we need",
    "50% of people like tea",
    "I won 5!",
    "Explain it in max 5 sentences",
    "What is the square root of a tree?",
    "__import__('os').system('ls')",
    "Convert 72 degrees Fahrenheit to Celsius",
]
HOSTILE = [
    "9**9**9**9",
    "10^10^10",
    "1e999999",
    "(" * 1000 + "1" + ")" * 1000,
    "(" * 60 + "1+1" + ")" * 60,
    "sqrt(" * 200 + "2" + ")" * 200,
    "1+" * 50_000 + "1",
    "1" * 100_000,
    "2^" * 100 + "2",
    "9999!",
    "5!!!!",
    "1e300^1e300",
    "exp(99999)",
    "cosh(1e10)",
    "2^(3^(4^5))",
    "1/0",
    "0^-1",
    "tan(pi/2)",
    "sqrt(-1)",
    "(-8)^(1/3)",
    "log(0)",
    "((3+4)",
    "1.2.3 + 4",
    "3x + 7 = 31",
    "1 + 2 = 3",
    "sin(",
    "3 + * 4",
]


@pytest.fixture(scope="module")
def calculator(worker: Worker) -> Calculator:
    return Calculator(worker)


@pytest.mark.parametrize(("prompt", "result"), ANSWERS.items())
def test_known_answers(calculator, prompt, result):
    answer = calculator.compute(prompt)
    assert answer.ok, answer.sentence
    assert answer.result == result


def test_the_sentence_reads_like_one(calculator):
    answer = calculator.compute("What is 17% of 2,340?")
    assert (answer.query, answer.result, answer.sentence) == ("17% of 2340", "397.8", "17% of 2,340 is 397.8.")
    assert "about" in calculator.compute("sqrt(2)").sentence
    assert calculator.compute("2000*1000").sentence == "2,000*1,000 is 2,000,000."


@pytest.mark.parametrize("prompt", NO_CALCULATION)
def test_no_calculation_is_seen_where_there_is_none(calculator, prompt):
    answer = calculator.compute(prompt)
    assert not answer.ok
    assert not answer.result
    assert answer.sentence


@pytest.mark.parametrize("prompt", HOSTILE, ids=lambda prompt: prompt[:20])
def test_hostile_input_is_refused_quickly(calculator, prompt):
    calculator.compute("1+1")  # the process is up
    started = time.perf_counter()
    answer = calculator.compute(prompt)
    assert time.perf_counter() - started < 2
    assert not answer.ok
    assert answer.sentence


def test_a_calculation_that_hangs_is_given_up_on_and_the_next_is_answered():
    worker = Worker(limit_s=1e-9)  # nothing is that quick: stands for any calculation that takes too long
    try:
        answer = Calculator(worker).compute("1000! / 998!")
        assert not answer.ok
        assert "stopped" in answer.sentence
        worker.limit_s = 10.0
        assert Calculator(worker).compute("2+2").result == "4"
    finally:
        worker.stop()


numbers = st.integers(0, 999).map(str) | st.decimals(0, 99, places=2).map(lambda d: f"{d:.2f}")
formulas = st.recursive(
    numbers,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(
        lambda t: f"({t[0]} {t[1]} {t[2]})"
    ),
    max_leaves=12,
)


@given(formulas, st.sampled_from(["+", "-", "*", "/"]), formulas)
@settings(max_examples=150, deadline=None)
def test_any_formula_means_what_sympy_says(left, sign, right):
    formula = f"{left} {sign} {right}"
    expected = sympy.sympify(formula, rational=True)  # test data is ours: sympy's own parser is safe on it
    if "e" in formula or any(
        part.startswith("0") and part[1:2].isdigit() for part in formula.replace("(", " ").split()
    ):
        return
    [found] = find_calculations(formula)
    answer = solve(found.tree)
    if not expected.is_finite:
        assert "refused" in answer
    elif answer.get("is_exact"):
        assert Fraction(answer["text"]) == Fraction(int(expected.p), int(expected.q))
    elif "refused" not in answer:
        assert float(answer["text"]) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text):
    try:
        found = find_calculations(text)
    except Refused:
        return  # any other exception fails the test
    for calculation in found:
        answer = solve(calculation.tree)
        assert "refused" in answer or answer["result"]
