"""How often somebody did something lately."""

from playground.core.rates import MOST_KNOWN, Rate


def test_what_is_used_up_comes_back_with_time() -> None:
    rate = Rate(3, 60.0)
    for second in range(3):
        assert rate.wait("ann", second) == 0
        rate.spend("ann", second)
    assert rate.wait("ann", 10) == 50  # until the first is forgotten
    assert rate.wait("bob", 10) == 0
    assert rate.wait("ann", 61) == 0
    assert rate.used("ann", 61) == 1


def test_large_amounts_wait_until_enough_is_forgotten() -> None:
    rate = Rate(100, 60.0)
    rate.spend("ann", 0, 40)
    rate.spend("ann", 30, 40)
    assert rate.wait("ann", 31, 20) == 0
    assert rate.wait("ann", 31, 50) == 29
    assert rate.wait("ann", 31, 90) == 59
    assert rate.wait("ann", 31, 20, most=50) == 59


def test_a_right_password_clears_the_count() -> None:
    rate = Rate(1, 60.0)
    rate.spend("ann", 0)
    rate.forget("ann")
    assert rate.wait("ann", 1) == 0


def test_what_is_remembered_is_bounded() -> None:
    rate = Rate(1, 1e9)
    for number in range(MOST_KNOWN + 5):
        rate.spend(number, 0)
    assert rate.wait(0, 1) == 0  # the oldest were dropped
    assert rate.wait(MOST_KNOWN + 4, 1) > 0
