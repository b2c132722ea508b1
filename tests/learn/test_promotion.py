"""The promotion rule: each line fails for its own reason, and the advice follows the arithmetic."""

import numpy as np
import pytest

from playground.learn.estimates.promotion import bound, labels_to_settle, promotion_rule
from playground.learn.labels.metrics import BeforeAfter, Figure

NAN = float("nan")


def figures(loss: tuple[float, float, float], accuracy: tuple[float, float, float], n: int) -> dict[str, BeforeAfter]:
    some = Figure(0.5, 0.4, 0.6, n)
    return {
        "log_loss": BeforeAfter(some, some, Figure(*loss, n)),
        "label_accuracy": BeforeAfter(some, some, Figure(*accuracy, n)),
    }


GOOD = figures((0.10, 0.02, 0.18), (0.05, 0.01, 0.09), 200)


def test_a_clear_gain_passes_and_needs_no_advice() -> None:
    rule = promotion_rule(GOOD, kl=0.3, cap=0.5)
    assert rule.passes
    assert rule.advice == ""


@pytest.mark.parametrize(
    ("metrics", "kl", "failing"),
    [
        (figures((0.10, 0.02, 0.18), (0.05, 0.01, 0.09), 99), 0.3, 0),
        (figures((0.10, -0.05, 0.25), (0.05, 0.01, 0.09), 200), 0.3, 1),
        (figures((0.10, 0.02, 0.18), (0.05, -0.10, 0.2), 200), 0.3, 2),
        (GOOD, 0.6, 3),
    ],
)
def test_each_line_fails_for_its_own_reason(metrics: dict[str, BeforeAfter], kl: float, failing: int) -> None:
    rule = promotion_rule(metrics, kl=kl, cap=0.5)
    assert [line.is_met for line in rule.lines] == [i != failing for i in range(4)]
    assert rule.advice


def test_what_the_figures_do_not_say_does_not_pass() -> None:
    rule = promotion_rule(figures((0.1, NAN, NAN), (0.1, NAN, NAN), 200), kl=None, cap=0.5)
    assert [line.is_met for line in rule.lines] == [True, None, None, None]
    assert not rule.passes


def test_after_many_looks_the_bound_is_stricter() -> None:
    close = figures((0.10, 0.005, 0.195), (0.05, 0.03, 0.07), 200)
    assert promotion_rule(close, kl=0.1, cap=0.5, looks=10).passes
    late = promotion_rule(close, kl=0.1, cap=0.5, looks=11)
    assert not late.passes
    assert "1 %" in late.lines[1].demand
    assert "fresh" in late.advice


def test_the_labels_that_settle_it_follow_the_square_root() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.05, 1.0, 100)
    half = 1.96 * draws.std() / 10
    gain = Figure(0.05, 0.05 - half, 0.05 + half, 100)
    needed = labels_to_settle(gain)
    assert needed is not None
    width = half * np.sqrt(100 / needed)
    assert bound(Figure(0.05, 0.05 - width, 0.05 + width, needed)) > 0
    assert bound(Figure(0.05, 0.05 - width * 1.05, 0.05 + width, needed)) < 0
    assert labels_to_settle(Figure(-0.1, -0.2, 0.0, 50)) is None
