"""The same failure fills no disk."""

import logging

import pytest
from gradio import queueing, routes

from playground.ui.brief_log import AGAIN_SECONDS, OnceAnHour, keep_log_brief


def broken(log: logging.Logger, error: Exception) -> None:
    try:
        raise error
    except type(error):
        log.exception("it broke for %s", "somebody")


def test_a_stack_is_written_once_an_hour(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("tests.brief")
    log.addFilter(OnceAnHour())
    for _ in range(100):
        broken(log, ValueError("x" * 5000))
    broken(log, TypeError("another"))
    assert caplog.text.count("Traceback") == 2
    assert caplog.text.count("again=ValueError") == 99
    assert len(caplog.text) < 99 * 300 + 20_000
    assert "it broke for somebody" in caplog.records[50].getMessage()
    from playground.ui import brief_log  # noqa: PLC0415  its clock is moved

    later = brief_log.time.monotonic() + AGAIN_SECONDS + 1
    monkeypatch.setattr(brief_log.time, "monotonic", lambda: later)
    broken(log, ValueError("once more"))
    assert caplog.text.count("Traceback") == 3


def test_what_the_framework_prints_goes_to_the_log_and_stays_short(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = queueing.traceback, routes.traceback
    try:
        keep_log_brief()
        for _ in range(20):
            try:
                raise ValueError("a stranger sent this")
            except ValueError:
                queueing.traceback.print_exc()
    finally:
        queueing.traceback, routes.traceback = before
    assert caplog.text.count("Traceback") == 1
    assert "Traceback" not in capsys.readouterr().err
