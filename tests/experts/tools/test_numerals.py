from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.experts.tools.numerals import grouped, number_text, read_words


@pytest.mark.parametrize(
    ("words", "value", "used"),
    [
        ("five hundred and forty two", 542, 5),
        ("two thousand and five", 2005, 4),
        ("one million two hundred thousand", 1_200_000, 5),
        ("nineteen eighty", 19, 1),
        ("ninety ten", 90, 1),
        ("two and three", 2, 1),
    ],
)
def test_numbers_in_words(words, value, used):
    assert read_words(words.split(), 0) == (value, used)


def test_a_scale_alone_is_no_number():
    assert read_words(["hundred"], 0) is None
    assert read_words(["apple"], 0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(3978, 10), "397.8"),
        (Fraction(1, 3), "0.333333 (1/3)"),
        (Fraction(-22, 7), "-3.142857 (-22/7)"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 10**9), "0.000000001"),
        (Fraction(10**70), "1e+70"),
        (Fraction(0), "0"),
    ],
)
def test_numbers_are_written_plainly(value, text):
    assert number_text(value).full == text


@given(st.fractions())
def test_what_is_called_exact_is_exact_and_the_rest_is_close(value):
    shown = number_text(value)
    if shown.is_exact:
        assert Fraction(shown.text) == value
    else:
        assert abs(Fraction(shown.text) - value) <= max(abs(value) / 10**5, Fraction(1, 10**6))


def test_grouping_leaves_decimals_and_powers_of_ten_alone():
    assert grouped("17% of 2340 and 1234.56789") == "17% of 2,340 and 1,234.56789"
    assert grouped("4.023873e+2567") == "4.023873e+2567"
