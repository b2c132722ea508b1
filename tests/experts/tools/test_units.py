import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.experts.base import Refused
from playground.experts.tools.units.units import Units, read_conversion
from playground.experts.tools.worker import Worker

ANSWERS = {
    "convert 5 miles to km": "8.04672 km",
    "how many grams are in 3 oz": "85.048569375 grams",
    "how many grams in 3 oz": "85.048569375 grams",
    "100 F in C": "37.777778 °C",
    "60 mph in m/s": "26.8224 m/s",
    "How many feet is 1.8 metres?": "5.905512 feet",
    "Convert 72 degrees Fahrenheit to Celsius": "22.222222 °C",
    "98.6°F to °C": "37 °C",
    "-40 F in C": "-40 °C",
    "0 kelvin in celsius": "-273.15 °C",
    "250 ml in cups": "1.056688 cups",
    "3.5 hours in seconds": "12600 seconds",
    "1 acre to square metres": "4046.87261 square metres",
    "25 square feet in square metres": "2.322576 square metres",
    "9.81 m/s^2 in ft/s^2": "32.185039 ft/s^2",
    "5 ft 3 in to cm": "160.02 cm",
    "what is 5'3\" in cm": "160.02 cm",
    "6 feet 2 inches in cm": "187.96 cm",
    "12 in to cm": "30.48 cm",
    "how many feet in a mile": "5280 feet",
    "half a mile in metres": "804.672 metres",
    "five miles in km": "8.04672 km",
    "3 1/2 inches in mm": "88.9 mm",
    "1,500 m in km": "1.5 km",
    "5 km is how many miles": "3.106856 miles",
    "10 GB in MB": "10000 MB",
    "16 Mb in MB": "2 MB",
    "8 fl oz in ml": "236.5882365 ml",
    "how long is a marathon of 42.195 km in miles": "26.218757 miles",
}
REFUSED = {
    "convert 5 miles to kg": "a length cannot become a mass",
    "convert 5 dollars to euros": "No unit is called",
    "how many people in 3 oz": "'people'",
    "5 miles in Paris": "'Paris'",
    "-500 C in F": "absolute zero",
    "convert miles to km": "no conversion",
    "Write a poem": "no conversion",
    "I was born in 1984 in May": "no conversion",
    "two dozen roses for 1984": "no conversion",
    "5 to 7": "no conversion",
    "": "no conversion",
    "5 m^9^9 in km": "power",
    "5 m**99999 in km": "power",
    "1/0 m in km": "fraction",
    "9" * 60 + " m in km": "too long",
    "a" * 100_000: "too long",
    "5 __import__('os') in m": "cannot be read",
}


@pytest.fixture(scope="module")
def units(worker: Worker) -> Units:
    return Units(worker)


@pytest.mark.parametrize(("prompt", "result"), ANSWERS.items())
def test_known_answers(units, prompt, result):
    answer = units.compute(prompt)
    assert answer.ok, answer.sentence
    assert answer.result == result


@pytest.mark.parametrize(("prompt", "reason"), REFUSED.items(), ids=[prompt[:20] or "empty" for prompt in REFUSED])
def test_nonsense_is_refused_with_a_reason(units, prompt, reason):
    units.compute("1 m in cm")  # the process is up
    started = time.perf_counter()
    answer = units.compute(prompt)
    assert time.perf_counter() - started < 2
    assert not answer.ok
    assert reason in answer.sentence


def test_the_sentence_reads_like_one(units):
    assert units.compute("convert 5 miles to km").sentence == "5 miles is 8.04672 km."
    assert units.compute("100 F in C").sentence == "100 F is about 37.777778 °C."


def test_there_and_back_is_where_it_started(units):
    for unit in ("mile", "ounce", "gallon", "acre", "knot", "stone"):
        base = {"mile": "m", "ounce": "g", "gallon": "l", "acre": "m^2", "knot": "m/s", "stone": "kg"}[unit]
        there = units.compute(f"1 {unit} in {base}").result.split()[0]
        back = float(units.compute(f"{there} {base} in {unit}").result.split()[0])
        assert back == pytest.approx(1, rel=1e-5)


@given(st.text(max_size=120) | st.from_regex(r"[0-9]{1,3} [a-z/^2 ]{1,12} in [a-z/^2]{1,6}", fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text):
    try:
        asked = read_conversion(text)
    except Refused:
        return  # any other exception fails the test
    assert asked.amounts
    assert asked.wanted
