"""The admin password: guessing it is slow, and whoever guesses locks out nobody else."""

import logging

import pytest

from playground.actions import identity
from playground.core.rates import Rate
from playground.errors import NotPermitted, TooOften
from playground.settings import Settings


@pytest.fixture
def guarded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings with a password, and nobody has guessed yet."""
    monkeypatch.setattr(identity, "_wrong", Rate(identity.GUESSES, identity.GUESS_SECONDS))
    return settings.model_copy(update={"admin_password": "correct horse"})


def guess(settings: Settings, password: str, address: str = "1.2.3.4") -> str:
    try:
        identity.require_admin(settings, password, address=address)
    except (NotPermitted, TooOften) as error:
        return type(error).__name__
    return "in"


def test_after_five_wrong_ones_even_the_right_one_has_to_wait(
    guarded: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    found = [guess(guarded, f"guess {number}") for number in range(20)]
    assert found == ["NotPermitted"] * 5 + ["TooOften"] * 15
    assert guess(guarded, "correct horse") == "TooOften"
    assert guess(guarded, "correct horse", "5.6.7.8") == "in"  # others are not locked out
    assert caplog.text.count("wrong admin password address=1.2.3.4") == 5
    assert "guess 3" not in caplog.text
    later = identity.time.monotonic() + identity.GUESS_SECONDS + 1
    monkeypatch.setattr(identity.time, "monotonic", lambda: later)
    assert guess(guarded, "correct horse") == "in"


def test_a_right_password_clears_the_count(guarded: Settings) -> None:
    for _ in range(3):
        assert [guess(guarded, "wrong") for _ in range(4)] == ["NotPermitted"] * 4
        assert guess(guarded, "correct horse") == "in"


def test_pressing_a_button_without_a_password_is_no_guess(guarded: Settings) -> None:
    assert {guess(guarded, "") for _ in range(20)} == {"NotPermitted"}
    assert guess(guarded, "correct horse") == "in"


def test_without_a_password_nothing_is_counted(settings: Settings) -> None:
    assert {guess(settings, "anything") for _ in range(20)} == {"in"}


def test_the_command_line_is_not_counted(guarded: Settings) -> None:
    assert {guess(guarded, "wrong", address="") for _ in range(20)} == {"NotPermitted"}
